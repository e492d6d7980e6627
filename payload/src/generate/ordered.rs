//! Work in parallel, results in order: the output does not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Runs `work` on every item on `threads` threads and hands the results to `consume` in the order of the items.
///
/// Threads stay at most two results each ahead of what is consumed, so memory is bounded by their number. The first
/// error, in the order of the items, ends it.
pub(super) fn ordered<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
    mut consume: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, items.len().max(1));
    let queue = Queue {
        state: Mutex::new(State {
            next: 0,
            consumed: 0,
            ended: false,
            results: BTreeMap::new(),
        }),
        changed: Condvar::new(),
        ahead: threads * 2,
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
    consumed: usize,
    ended: bool,
    results: BTreeMap<usize, R>,
}

struct Queue<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    ahead: usize,
}

impl<R> Queue<R> {
    fn take<'a, T>(&self, items: &'a [T]) -> Option<(usize, &'a T)> {
        let mut state = self.wait(|state| state.next >= state.consumed + self.ahead);
        let index = state.next;
        state.next += 1;
        if state.ended {
            None
        } else {
            items.get(index).map(|item| (index, item))
        }
    }

    fn put(&self, index: usize, result: R) {
        self.lock().results.insert(index, result);
        self.changed.notify_all();
    }

    fn result(&self, index: usize) -> Option<R> {
        let mut state = self.wait(|state| !state.results.contains_key(&index));
        let result = state.results.remove(&index);
        state.consumed = index + 1;
        drop(state);
        self.changed.notify_all();
        result
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn wait(&self, blocked: impl Fn(&State<R>) -> bool) -> MutexGuard<'_, State<R>> {
        self.changed
            .wait_while(self.lock(), |state| !state.ended && blocked(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct EndOnPanic<'a, R>(&'a Queue<R>);

impl<R> Drop for EndOnPanic<'_, R> {
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
            let outcome = ordered(threads, &items, work, |item, result| {
                assert_eq!(result, item * 2);
                seen.push(*item);
                Ok(())
            });
            assert_eq!(outcome, Err(300));
            assert_eq!(seen, (0..300).collect::<Vec<_>>());
        }
        assert_eq!(
            ordered(2, &[0_u8; 0], |_| Ok::<_, ()>(()), |_, ()| Ok(())),
            Ok(())
        );
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
        let _ = ordered(2, &[0, 1, 2], work, |_, ()| Ok(()));
    }
}
