//! Which slot runs, which one boots next, and which ones are known to be good.

mod misc;

use millet_protocol::Slot;

use crate::error::Error;

pub use misc::Misc;

/// What bootloader and system agree on. Every change is durable when its call returns, and all or nothing.
pub trait BootControl: Send {
    /// The slot that runs.
    fn current(&self) -> Result<Slot, Error>;
    /// Whether a slot is marked good.
    fn is_good(&self, slot: Slot) -> Result<bool, Error>;
    /// Whether a bootloader may choose a slot.
    fn is_bootable(&self, slot: Slot) -> Result<bool, Error>;
    /// The next boots go to this slot, on trial: it is not good yet, and after some boots the bootloader gives it up.
    fn set_active(&mut self, slot: Slot) -> Result<(), Error>;
    /// The next boots go to this slot, and it stays as good as it was.
    fn restore(&mut self, slot: Slot) -> Result<(), Error>;
    /// The slot booted well.
    fn mark_good(&mut self, slot: Slot) -> Result<(), Error>;
    /// No bootloader chooses this slot any more.
    fn mark_unbootable(&mut self, slot: Slot) -> Result<(), Error>;
}

/// What every backend must do, as a bootloader would see it.
#[cfg(test)]
pub(crate) mod contract {
    use super::*;

    /// A device that a backend works on.
    pub(crate) trait Device {
        /// One that runs a slot, which is good; the other is unbootable.
        fn new(running: Slot) -> Self;
        /// The backend, opened anew.
        fn open(&self) -> Box<dyn BootControl>;
        /// What its bootloader does at the next boot.
        fn boot(&self) -> Option<Slot>;
    }

    pub(crate) fn suite<D: Device>() {
        for running in [Slot::A, Slot::B] {
            new_device::<D>(running);
            trial_and_confirmation::<D>(running);
            trial_without_confirmation::<D>(running);
            the_way_back::<D>(running);
            unbootable::<D>(running);
        }
    }

    fn new_device<D: Device>(running: Slot) {
        let device = D::new(running);
        let control = device.open();
        assert_eq!(control.current().unwrap(), running);
        assert!(control.is_good(running).unwrap() && control.is_bootable(running).unwrap());
        assert!(!control.is_good(running.other()).unwrap() && !control.is_bootable(running.other()).unwrap());
        assert_eq!(device.boot(), Some(running));
    }

    fn trial_and_confirmation<D: Device>(running: Slot) {
        let (device, target) = (D::new(running), running.other());
        device.open().set_active(target).unwrap();
        assert!(!device.open().is_good(target).unwrap() && device.open().is_bootable(target).unwrap());
        assert_eq!(device.open().current().unwrap(), running, "active is not running");
        assert_eq!(device.boot(), Some(target));
        assert_eq!(device.open().current().unwrap(), target);
        device.open().mark_good(target).unwrap();
        assert!(device.open().is_good(target).unwrap());
        for _ in 0..20 {
            assert_eq!(device.boot(), Some(target));
        }
    }

    fn trial_without_confirmation<D: Device>(running: Slot) {
        let device = D::new(running);
        device.open().set_active(running.other()).unwrap();
        let boots: Vec<_> = (0..20).map(|_| device.boot()).collect();
        assert_eq!(boots[0], Some(running.other()));
        assert_eq!(boots[19], Some(running));
        assert!(device.open().is_good(running).unwrap());
    }

    fn the_way_back<D: Device>(running: Slot) {
        let device = D::new(running);
        device.open().set_active(running.other()).unwrap();
        assert_eq!(device.boot(), Some(running.other()));
        device.open().restore(running).unwrap();
        device.open().mark_unbootable(running.other()).unwrap();
        assert_eq!(device.boot(), Some(running));
        assert!(device.open().is_good(running).unwrap());
        assert!(!device.open().is_bootable(running.other()).unwrap());
    }

    fn unbootable<D: Device>(running: Slot) {
        let device = D::new(running);
        device.open().set_active(running.other()).unwrap();
        device.open().mark_unbootable(running.other()).unwrap();
        assert!(!device.open().is_bootable(running.other()).unwrap());
        assert_eq!(device.boot(), Some(running));
    }
}
