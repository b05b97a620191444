//! Kafka's wire format: bytes to values, with bounds everywhere, and values to bytes.

/// What is wrong with bytes that came from a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of {of}")]
pub struct Damaged {
    pub what: &'static str,
    pub at: usize,
    pub of: usize,
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Bytes that are read already.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { what, at: self.at, of: self.bytes.len() }
    }

    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        if count > self.rest() {
            return Err(self.damaged("a length that goes beyond the end"));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        match self.bytes[self.at..].first_chunk() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.damaged("an end in the middle of a number")),
        }
    }

    pub fn i8(&mut self) -> Result<i8, Damaged> {
        self.array().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, Damaged> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Damaged> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, Damaged> {
        self.array().map(i64::from_be_bytes)
    }

    /// Seven bits a byte, the lowest first.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, Damaged> {
        match self.bytes.get(self.at..) {
            Some([low @ ..0x80, ..]) => {
                self.at += 1;
                Ok(u64::from(*low))
            }
            Some([low, high @ ..0x80, ..]) => {
                self.at += 2;
                Ok(u64::from(*high) << 7 | u64::from(low & 0x7f))
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number without an end"))
    }

    /// The same for numbers of both signs: 0, -1, 1, -2, ...
    #[inline]
    pub fn varint(&mut self) -> Result<i64, Damaged> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length that comes as one more than it is; 0 is null.
    fn compact(&mut self) -> Result<Option<usize>, Damaged> {
        let length = self.uvarint()?.checked_sub(1);
        match length {
            Some(length) if length > self.rest() as u64 => Err(self.damaged("a length that goes beyond the end")),
            length => Ok(length.map(|length| length as usize)),
        }
    }

    /// Elements of an array, each of which has a byte at least; null has none.
    pub fn count(&mut self) -> Result<usize, Damaged> {
        Ok(self.compact()?.unwrap_or(0))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.count()?;
        self.take(length)
    }

    pub fn string(&mut self) -> Result<&'a str, Damaged> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a name that is no text"))
    }

    /// Passes over tagged fields.
    pub fn no_tags(&mut self) -> Result<(), Damaged> {
        self.tags(|_, _| Ok(()))
    }

    /// Each tagged field with its number.
    pub fn tags(&mut self, mut field: impl FnMut(u64, Cursor<'a>) -> Result<(), Damaged>) -> Result<(), Damaged> {
        for _ in 0..self.uvarint()? {
            let number = self.uvarint()?;
            let length = self.uvarint()?;
            field(number, Cursor::new(self.take(usize::try_from(length).unwrap_or(usize::MAX))?))?;
        }
        Ok(())
    }
}

/// Seven bits a byte, the lowest first.
#[inline]
fn put_uvarint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// As [`Cursor::varint`] reads it.
#[inline]
pub fn put_varint(value: i64, to: &mut Vec<u8>) {
    put_uvarint(folded(value), to);
}

/// Bytes that [`put_varint`] writes.
#[inline]
pub fn varint_len(value: i64) -> usize {
    (64 - (folded(value) | 1).leading_zeros() as usize).div_ceil(7)
}

/// 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
#[inline]
fn folded(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// A request in the making: its length first, known at its end.
#[derive(Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    /// `flexible`: of the versions with compact lengths and tagged fields.
    pub fn new((api, version): (i16, i16), correlation: i32, client_id: &str, flexible: bool) -> Frame {
        let mut frame = Frame::default();
        frame.i32(0).i16(api).i16(version).i32(correlation).i16(client_id.len() as i16);
        frame.bytes.extend_from_slice(client_id.as_bytes());
        if flexible {
            frame.no_tags();
        }
        frame
    }

    pub fn i8(&mut self, value: i8) -> &mut Frame {
        self.put(&value.to_be_bytes())
    }

    pub fn i16(&mut self, value: i16) -> &mut Frame {
        self.put(&value.to_be_bytes())
    }

    pub fn i32(&mut self, value: i32) -> &mut Frame {
        self.put(&value.to_be_bytes())
    }

    pub fn i64(&mut self, value: i64) -> &mut Frame {
        self.put(&value.to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Frame {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn uvarint(&mut self, value: usize) -> &mut Frame {
        put_uvarint(value as u64, &mut self.bytes);
        self
    }

    /// Elements of the array that follows.
    pub fn count(&mut self, count: usize) -> &mut Frame {
        self.uvarint(count + 1)
    }

    pub fn string(&mut self, text: &str) -> &mut Frame {
        self.count(text.len()).put(text.as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Frame {
        self.count(bytes.len()).put(bytes)
    }

    /// In place of a string.
    pub fn null(&mut self) -> &mut Frame {
        self.uvarint(0)
    }

    pub fn no_tags(&mut self) -> &mut Frame {
        self.uvarint(0)
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// The whole frame.
    pub fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - 4) as i32;
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// These bytes with some of them spoiled, or any others.
    pub fn spoiled(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let spoil = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
        let spoiled = spoil.prop_map(move |spoil| {
            let mut bytes = good.clone();
            spoil.iter().for_each(|(at, with)| bytes[at.index(good.len())] = *with);
            bytes
        });
        prop_oneof![spoiled, proptest::collection::vec(any::<u8>(), 0..200)]
    }

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        let read = |bytes: &[u8]| Cursor::new(bytes).varint().ok();
        assert_eq!([read(&[0]), read(&[1]), read(&[2]), read(&[3])], [Some(0), Some(-1), Some(1), Some(-2)]);
        assert_eq!(read(&[0xfe, 0xff, 0xff, 0xff, 0x0f]), Some(i64::from(i32::MAX)));
        assert_eq!(read(&[0xff; 9].iter().copied().chain([1]).collect::<Vec<u8>>()), Some(i64::MIN));
        assert_eq!([read(&[0x80]), read(&[0xff; 11])], [None, None]);
    }

    proptest! {
        #[test]
        fn a_number_comes_back(value in any::<i64>(), shift in 0..64) {
            let (value, mut bytes) = (value >> shift, Vec::new());
            put_varint(value, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_len(value));
            prop_assert_eq!(Cursor::new(&bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn lengths_that_lie_are_named() {
        let error = |result: Result<&[u8], Damaged>| result.unwrap_err().to_string();
        assert_eq!(error(Cursor::new(&[5, 1, 2]).bytes()), "a length that goes beyond the end at byte 1 of 3");
        assert_eq!(error(Cursor::new(&[0xff; 20]).bytes()), "a number without an end at byte 10 of 20");
        assert_eq!(Cursor::new(&[0]).bytes(), Ok(&[][..]), "null");
        assert!(Cursor::new(&[1, 0, 0xff, 0xff, 0xff, 0x7f, 0]).no_tags().is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut frame = Frame::new((1, 12), 7, "me", true);
        frame.i8(-1).i16(-2).i32(-3).i64(-4).string(&"x".repeat(300)).count(2).no_tags();
        let bytes = frame.finish();
        let mut read = Cursor::new(&bytes);
        assert_eq!(read.i32().unwrap() as usize, bytes.len() - 4);
        assert_eq!((read.i16(), read.i16(), read.i32(), read.i16()), (Ok(1), Ok(12), Ok(7), Ok(2)));
        assert_eq!(read.take(2).unwrap(), b"me");
        read.no_tags().unwrap();
        assert_eq!((read.i8(), read.i16(), read.i32(), read.i64()), (Ok(-1), Ok(-2), Ok(-3), Ok(-4)));
        assert_eq!(read.string().unwrap().len(), 300);
        assert_eq!((read.uvarint(), read.no_tags(), read.rest()), (Ok(3), Ok(()), 0));
    }
}
