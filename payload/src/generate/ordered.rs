//! Work in parallel, results in order: the output does not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes of results that may wait for an earlier one, for each thread. One item can take as long as a thousand others.
const WAITING: usize = 32 << 20;

/// Runs `work` on every item on `threads` threads and hands the results to `consume` in the order of the items.
///
/// Threads begin nothing new while results of [`WAITING`] bytes each, as `size` has it, wait for an earlier one. The
/// first error, in the order of the items, ends it.
pub(super) fn ordered<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
    size: impl Fn(&R) -> usize + Sync,
    mut consume: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, items.len().max(1));
    let queue = Queue {
        state: Mutex::new(State {
            next: 0,
            waiting: 0,
            ended: false,
            results: BTreeMap::new(),
        }),
        changed: Condvar::new(),
        most_waiting: threads * WAITING,
        size: &size,
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Also when `work` panics: the consumer must not wait for a result that never comes.
                let _end = EndOnPanic(&queue);
                while let Some((index, item)) = queue.take(items) {
                    queue.put(index, work(item));
                }
            });
        }
        let outcome = items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| match queue.result(index) {
                Some(result) => result.and_then(|result| consume(item, result)),
                // A thread panicked; the scope passes the panic on.
                None => Ok(()),
            });
        queue.end();
        outcome
    })
}

struct State<R> {
    next: usize,
    waiting: usize,
    ended: bool,
    results: BTreeMap<usize, R>,
}

struct Queue<'a, R, E> {
    state: Mutex<State<Result<R, E>>>,
    changed: Condvar,
    most_waiting: usize,
    size: &'a (dyn Fn(&R) -> usize + Sync),
}

impl<R, E> Queue<'_, R, E> {
    fn take<'a, T>(&self, items: &'a [T]) -> Option<(usize, &'a T)> {
        let mut state = self.wait(|state| state.waiting >= self.most_waiting);
        let index = state.next;
        state.next += 1;
        if state.ended {
            None
        } else {
            items.get(index).map(|item| (index, item))
        }
    }

    fn put(&self, index: usize, result: Result<R, E>) {
        let mut state = self.lock();
        state.waiting += self.size_of(&result);
        state.results.insert(index, result);
        drop(state);
        self.changed.notify_all();
    }

    fn result(&self, index: usize) -> Option<Result<R, E>> {
        let mut state = self.wait(|state| !state.results.contains_key(&index));
        let result = state.results.remove(&index)?;
        state.waiting -= self.size_of(&result);
        drop(state);
        self.changed.notify_all();
        Some(result)
    }

    fn size_of(&self, result: &Result<R, E>) -> usize {
        result.as_ref().map_or(0, self.size)
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn wait(&self, blocked: impl Fn(&State<Result<R, E>>) -> bool) -> MutexGuard<'_, State<Result<R, E>>> {
        self.changed
            .wait_while(self.lock(), |state| !state.ended && blocked(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<Result<R, E>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct EndOnPanic<'a, R, E>(&'a Queue<'a, R, E>);

impl<R, E> Drop for EndOnPanic<'_, R, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        let items: Vec<u64> = (0..500).collect();
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let work = |item: &u64| if *item == 300 { Err(*item) } else { Ok(item * 2) };
            let outcome = ordered(
                threads,
                &items,
                work,
                |_| 1,
                |item, result| {
                    assert_eq!(result, item * 2);
                    seen.push(*item);
                    Ok(())
                },
            );
            assert_eq!(outcome, Err(300));
            assert_eq!(seen, (0..300).collect::<Vec<_>>());
        }
        assert_eq!(
            ordered(2, &[0_u8; 0], |_| Ok::<_, ()>(()), |()| 0, |_, ()| Ok(())),
            Ok(())
        );
    }

    /// One item is not done before a hundred others have begun, which they only do if nobody waits for it.
    #[test]
    fn small_results_wait_for_a_slow_one() {
        let items: Vec<u64> = (0..=100).collect();
        let begun = std::sync::Barrier::new(2);
        let work = |item: &u64| {
            if [0, 100].contains(item) {
                begun.wait();
            }
            Ok::<_, ()>(*item)
        };
        assert_eq!(ordered(2, &items, work, |_| 100, |_, _| Ok(())), Ok(()));
    }

    #[test]
    fn large_results_do_not_pile_up() {
        let items: Vec<u64> = (0..100).collect();
        let waiting = std::sync::atomic::AtomicUsize::new(0);
        let work = |_: &u64| {
            let before = waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // Two threads' worth, and what both had begun before.
            assert!(before < 4, "{before} results wait");
            Ok::<_, ()>(())
        };
        let consume = |_: &u64, ()| {
            thread::sleep(std::time::Duration::from_millis(1));
            waiting.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        };
        assert_eq!(ordered(2, &items, work, |()| WAITING, consume), Ok(()));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_passed_on() {
        let work = |item: &u8| {
            if *item == 1 {
                panic!("broken coder")
            } else {
                Ok::<_, ()>(())
            }
        };
        let _ = ordered(2, &[0, 1, 2], work, |()| 0, |_, ()| Ok(()));
    }
}
