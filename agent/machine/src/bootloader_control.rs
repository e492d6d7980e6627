//! Android's `bootloader_control` block: where an A/B bootloader and the system agree on slots.
//!
//! Layout: AOSP `bootable/recovery`, `bootloader_message/include/bootloader_message/bootloader_message.h`,
//! `struct bootloader_control` and `struct slot_metadata`; meaning of the operations: AOSP `hardware/interfaces`,
//! `boot/1.1/default/boot_control/libboot_control.cpp`. The block stands at [`OFFSET`] of the `misc` partition, in the
//! `slot_suffix` field of `bootloader_message_ab`.

use millet_protocol::Slot;

/// Where the block begins in `misc`, in bytes.
pub const OFFSET: u64 = 2048;

/// Bytes of the block.
pub const LENGTH: usize = 32;

/// The priority of the slot that boots next.
pub const HIGHEST_PRIORITY: u8 = 15;

/// How often a bootloader tries a slot that was made active: the largest number that three bits hold.
pub const TRIES: u8 = 7;

const MAGIC: u32 = 0x4241_4342;
const VERSION: u8 = 1;
const CRC_AT: usize = 28;
const SLOTS_AT: usize = 12;

/// The block, kept as its bytes: what this version does not know stays as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootloaderControl {
    bytes: [u8; LENGTH],
}

/// `slot_metadata`: what the bootloader knows of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotInfo {
    /// 0 to 15; 0 is unbootable, the highest boots first.
    pub priority: u8,
    /// Boots left before the bootloader gives the slot up, 0 to 7.
    pub tries: u8,
    /// The slot has booted well; tries no longer count.
    pub successful: bool,
    /// dm-verity found the slot damaged.
    pub verity_corrupted: bool,
}

impl SlotInfo {
    /// A slot that no bootloader chooses.
    pub const UNBOOTABLE: Self = Self {
        priority: 0,
        tries: 0,
        successful: false,
        verity_corrupted: false,
    };

    /// Whether a bootloader may choose it.
    pub fn bootable(self) -> bool {
        self.priority > 0 && (self.successful || self.tries > 0) && !self.verity_corrupted
    }
}

/// Bytes that are not a valid block. A bootloader that meets them may try any slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootloaderControlError {
    /// Something else stands there.
    #[error("boot control has the magic number {0:#010x}, not {MAGIC:#010x}")]
    Magic(u32),
    /// A layout that this version does not know.
    #[error("boot control has version {0}, not {VERSION}")]
    Version(u8),
    /// Torn or damaged.
    #[error("boot control is damaged: its CRC-32 is {computed:#010x} and it says {stored:#010x}")]
    Crc {
        /// Of the bytes.
        computed: u32,
        /// As written in them.
        stored: u32,
    },
    /// Two slots are what this is about.
    #[error("boot control manages {0} slots; an A/B device has at least 2")]
    Slots(u8),
}

impl BootloaderControl {
    /// A new device's block: two slots, `running` is good and first, the other is unbootable.
    pub fn new(running: Slot) -> Self {
        let mut block = Self { bytes: [0; LENGTH] };
        block.bytes[4..8].copy_from_slice(&MAGIC.to_le_bytes());
        block.bytes[8] = VERSION;
        block.bytes[9] = 2;
        block.set_suffix(running);
        let good = SlotInfo {
            priority: HIGHEST_PRIORITY,
            tries: TRIES,
            successful: true,
            verity_corrupted: false,
        };
        block.set_slot(running, good);
        block.set_slot(running.other(), SlotInfo::UNBOOTABLE);
        block
    }

    /// Checks magic number, version, CRC-32 and the number of slots.
    pub fn parse(bytes: &[u8; LENGTH]) -> Result<Self, BootloaderControlError> {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        if word(4) != MAGIC {
            return Err(BootloaderControlError::Magic(word(4)));
        }
        if bytes[8] != VERSION {
            return Err(BootloaderControlError::Version(bytes[8]));
        }
        let (computed, stored) = (crc32fast::hash(&bytes[..CRC_AT]), word(CRC_AT));
        if computed != stored {
            return Err(BootloaderControlError::Crc { computed, stored });
        }
        match bytes[9] & 0b111 {
            slots @ 0..2 => Err(BootloaderControlError::Slots(slots)),
            _ => Ok(Self { bytes: *bytes }),
        }
    }

    /// The 32 bytes with their CRC-32 made anew.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = self.bytes;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What the bootloader knows of a slot.
    pub fn slot(&self, slot: Slot) -> SlotInfo {
        let at = SLOTS_AT + 2 * slot.index();
        let (low, high) = (self.bytes[at], self.bytes[at + 1]);
        SlotInfo {
            priority: low & 0x0f,
            tries: (low >> 4) & 0b111,
            successful: low & 0x80 != 0,
            verity_corrupted: high & 1 != 0,
        }
    }

    /// Replaces what the bootloader knows of a slot; priority is cut to 15 and tries to 7.
    pub fn set_slot(&mut self, slot: Slot, info: SlotInfo) {
        let at = SLOTS_AT + 2 * slot.index();
        self.bytes[at] =
            info.priority.min(15) | info.tries.min(7) << 4 | if info.successful { 0x80 } else { 0 };
        self.bytes[at + 1] = self.bytes[at + 1] & !1 | u8::from(info.verity_corrupted);
    }

    /// The slot that a bootloader chose last, for systems whose kernel command line does not say it.
    pub fn suffix(&self) -> Option<Slot> {
        let end = self.bytes[..4].iter().position(|byte| *byte == 0)?;
        Slot::from_suffix(std::str::from_utf8(&self.bytes[..end]).ok()?)
    }

    /// The bootloader's part: names the slot that it boots.
    pub fn set_suffix(&mut self, slot: Slot) {
        self.bytes[..4].fill(0);
        self.bytes[..2].copy_from_slice(slot.suffix().as_bytes());
    }

    /// State of a Virtual A/B snapshot merge, 0 to 7; 0 is none. Its three bits straddle bytes 9 and 10.
    pub fn merge_status(&self) -> u8 {
        self.bytes[9] >> 6 | (self.bytes[10] & 1) << 2
    }

    /// The slot that a bootloader chooses: the highest priority of those bootable, and `a` of two equal ones.
    pub fn choice(&self) -> Option<Slot> {
        let (a, b) = (self.slot(Slot::A), self.slot(Slot::B));
        match (a.bootable(), b.bootable()) {
            (true, true) if b.priority > a.priority => Some(Slot::B),
            (true, _) => Some(Slot::A),
            (false, true) => Some(Slot::B),
            (false, false) => None,
        }
    }

    /// The next boot goes to this slot, on trial: [`TRIES`] boots, not successful yet.
    pub fn set_active(&mut self, slot: Slot) {
        self.demote(slot.other());
        let trial = SlotInfo {
            priority: HIGHEST_PRIORITY,
            tries: TRIES,
            successful: false,
            verity_corrupted: false,
        };
        self.set_slot(slot, trial);
    }

    /// The next boot goes to this slot, which stays as good as it was: the way back from a slot that was staged or tried.
    pub fn restore(&mut self, slot: Slot) {
        self.demote(slot.other());
        let info = SlotInfo {
            priority: HIGHEST_PRIORITY,
            tries: TRIES,
            ..self.slot(slot)
        };
        self.set_slot(slot, info);
    }

    /// The slot booted well: tries no longer count. One try stays, since AOSP reads 0 tries as unbootable.
    pub fn mark_good(&mut self, slot: Slot) {
        let mut info = self.slot(slot);
        info.successful = true;
        info.tries = 1;
        info.priority = info.priority.max(1);
        self.set_slot(slot, info);
    }

    /// No bootloader chooses this slot any more.
    pub fn mark_unbootable(&mut self, slot: Slot) {
        self.set_slot(slot, SlotInfo::UNBOOTABLE);
    }

    /// The bootloader's part: counts one boot of a slot that is not known to be good.
    pub fn count_try(&mut self, slot: Slot) {
        let mut info = self.slot(slot);
        if !info.successful {
            info.tries = info.tries.saturating_sub(1);
            self.set_slot(slot, info);
        }
    }

    fn demote(&mut self, slot: Slot) {
        let mut info = self.slot(slot);
        info.priority = info.priority.min(HIGHEST_PRIORITY - 1);
        self.set_slot(slot, info);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written out by hand from the C structure: a block that AOSP's own code reads as "a is good, b has 7 tries".
    #[test]
    fn the_layout_of_aosp() {
        let mut block = BootloaderControl::new(Slot::A);
        block.set_active(Slot::B);
        let bytes = block.encode();
        assert_eq!(&bytes[..4], b"_a\0\0");
        assert_eq!(&bytes[4..8], b"BCAB");
        assert_eq!(&bytes[8..12], &[1, 2, 0, 0]);
        // a: priority 14, tries 7, successful; b: priority 15, tries 7.
        assert_eq!(&bytes[12..16], &[0xfe, 0, 0x7f, 0]);
        assert_eq!(&bytes[16..28], &[0; 12]);
        // CRC-32 as in IEEE 802.3, computed with Python's zlib.crc32 over the 28 bytes above.
        assert_eq!(u32::from_le_bytes(bytes[28..].try_into().unwrap()), 0xc08a_9342);
    }

    #[test]
    fn a_new_device_boots_its_running_slot() {
        for slot in [Slot::A, Slot::B] {
            let block = BootloaderControl::new(slot);
            assert_eq!(block.choice(), Some(slot));
            assert_eq!(block.suffix(), Some(slot));
            assert_eq!(
                BootloaderControl::parse(&block.encode()).map(|read| read.choice()),
                Ok(Some(slot))
            );
        }
    }

    #[test]
    fn a_trial_that_is_never_marked_good_falls_back() {
        let mut block = BootloaderControl::new(Slot::A);
        block.set_active(Slot::B);
        for _ in 0..TRIES {
            assert_eq!(block.choice(), Some(Slot::B));
            block.count_try(Slot::B);
        }
        assert_eq!(block.choice(), Some(Slot::A));
        assert!(block.slot(Slot::A).successful);
    }

    #[test]
    fn going_back_keeps_the_old_slot_good() {
        let mut block = BootloaderControl::new(Slot::A);
        block.set_active(Slot::B);
        block.restore(Slot::A);
        assert_eq!(block.choice(), Some(Slot::A));
        assert!(block.slot(Slot::A).successful);
        block.mark_unbootable(Slot::B);
        assert!(!block.slot(Slot::B).bootable());
    }

    #[test]
    fn refuses_what_is_not_a_block() {
        let good = BootloaderControl::new(Slot::A).encode();
        let mut other = good;
        other[4] = 0;
        assert!(matches!(
            BootloaderControl::parse(&other),
            Err(BootloaderControlError::Magic(_))
        ));
        let mut newer = good;
        newer[8] = 2;
        assert_eq!(
            BootloaderControl::parse(&newer),
            Err(BootloaderControlError::Version(2))
        );
        assert!(matches!(
            BootloaderControl::parse(&[0; 32]),
            Err(BootloaderControlError::Magic(0))
        ));
    }

    proptest! {
        #[test]
        fn every_field_comes_back(priority in 0..16u8, tries in 0..8u8, successful: bool, verity_corrupted: bool, b: bool) {
            let slot = if b { Slot::B } else { Slot::A };
            let info = SlotInfo { priority, tries, successful, verity_corrupted };
            let mut block = BootloaderControl::new(Slot::A);
            let other = block.slot(slot.other());
            block.set_slot(slot, info);
            let read = BootloaderControl::parse(&block.encode()).unwrap();
            prop_assert_eq!(read.slot(slot), info);
            prop_assert_eq!(read.slot(slot.other()), other);
        }

        #[test]
        fn any_flipped_bit_is_noticed(bit in 0..LENGTH * 8) {
            let mut bytes = BootloaderControl::new(Slot::B).encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(BootloaderControl::parse(&bytes).is_err());
        }

        #[test]
        fn what_it_does_not_know_stays(reserved in any::<[u8; 8]>(), merge in 0..8u8) {
            let mut bytes = BootloaderControl::new(Slot::A).encode();
            bytes[20..28].copy_from_slice(&reserved);
            bytes[9] |= merge << 6;
            bytes[10] |= merge >> 2;
            let crc = crc32fast::hash(&bytes[..28]);
            bytes[28..].copy_from_slice(&crc.to_le_bytes());
            let mut block = BootloaderControl::parse(&bytes).unwrap();
            prop_assert_eq!(block.merge_status(), merge);
            block.set_active(Slot::B);
            prop_assert_eq!(&block.encode()[20..28], &reserved);
            prop_assert_eq!(block.merge_status(), merge);
        }
    }
}
