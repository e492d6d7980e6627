//! A protobuf message as the fields it is made of, so that some can be changed and all others stay, known or not.

use crate::format::wire::{self, LENGTH, VARINT};

pub use crate::format::wire::FieldError;

/// The fields of one message, in their order.
pub(super) struct Fields<'a> {
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    number: u64,
    bytes: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, FieldError> {
        let mut fields = Vec::new();
        for field in wire::fields(message) {
            let wire::Field { number, bytes, .. } = field?;
            let bytes = bytes.into();
            fields.push(Field { number, bytes });
        }
        Ok(Self { fields })
    }

    /// Whether there is a field of that number.
    pub(super) fn has(&self, number: u64) -> bool {
        self.fields.iter().any(|field| field.number == number)
    }

    /// Takes out every field of that number.
    pub(super) fn remove(&mut self, number: u64) {
        self.fields.retain(|field| field.number != number);
    }

    /// Puts one varint in the place of every field of that number.
    pub(super) fn set_varint(&mut self, number: u64, value: u64) {
        let mut bytes = Vec::new();
        put_varint(number << 3 | VARINT, &mut bytes);
        put_varint(value, &mut bytes);
        self.set(number, bytes);
    }

    /// Puts one string, or message, in the place of every field of that number.
    pub(super) fn set_bytes(&mut self, number: u64, value: &[u8]) {
        self.set(number, length_delimited(number, value));
    }

    /// Puts what `change` makes of its content in the place of each string or message of that number.
    pub(super) fn change_each<E: From<FieldError>>(
        &mut self,
        number: u64,
        mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        for field in self.fields.iter_mut().filter(|field| field.number == number) {
            let content = content(&field.bytes).ok_or(FieldError(0))?;
            field.bytes = length_delimited(number, &change(content)?).into();
        }
        Ok(())
    }

    /// The message, in the order of its fields' numbers, as other encoders write it.
    pub(super) fn encode(mut self) -> Vec<u8> {
        self.fields.sort_by_key(|field| field.number);
        let pieces: Vec<&[u8]> = self.fields.iter().map(|field| &*field.bytes).collect();
        pieces.concat()
    }

    fn set(&mut self, number: u64, bytes: Vec<u8>) {
        self.remove(number);
        self.fields.push(Field {
            number,
            bytes: bytes.into(),
        });
    }
}

/// What a length-delimited field holds.
fn content(field: &[u8]) -> Option<&[u8]> {
    wire::fields(field).next()?.ok()?.content
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn length_delimited(number: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 16);
    put_varint(number << 3 | LENGTH, &mut bytes);
    put_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_refused_or_kept(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(mut fields) = Fields::parse(&bytes) {
                let _ = fields.change_each(2, |content| Ok::<_, FieldError>(content.to_vec()));
                let mut kept = fields.encode();
                // Lengths may have been written in more bytes than they need; nothing else may change but the order.
                prop_assert!(kept.len() <= bytes.len());
                if kept.len() == bytes.len() {
                    let mut bytes = bytes;
                    kept.sort_unstable();
                    bytes.sort_unstable();
                    prop_assert_eq!(kept, bytes);
                }
            }
        }
    }

    #[test]
    fn what_is_not_touched_stays() {
        // 1: varint 300, 20: fixed32, 2: "ab", 19: fixed64, 2: ""
        let message = b"\x08\xac\x02\xa5\x01wxyz\x12\x02ab\x99\x0112345678\x12\x00";
        let mut fields = Fields::parse(message).unwrap();
        fields.remove(20);
        fields.set_varint(18, 1 << 63);
        fields
            .change_each(2, |content| Ok::<_, FieldError>([content, b"!"].concat()))
            .unwrap();
        assert_eq!(
            fields.encode(),
            b"\x08\xac\x02\x12\x03ab!\x12\x01!\x90\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x99\x0112345678"
        );
        let mut fields = Fields::parse(b"\x12\x00").unwrap();
        fields.set_bytes(2, b"c");
        assert_eq!(fields.encode(), b"\x12\x01c");
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert_eq!(Fields::parse(b"\x08\x01\x08").err(), Some(FieldError(2)));
        let mut number = Fields::parse(b"\x10\x01").unwrap();
        assert!(
            number
                .change_each(2, |_| Err::<Vec<u8>, _>(FieldError(9)))
                .is_err()
        );
    }
}
