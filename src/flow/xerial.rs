//! Snappy as Java's producers frame it: a head, then blocks with their lengths before them.

/// The head's first bytes; two version numbers follow.
const MAGIC: &[u8] = b"\x82SNAPPY\0";
const HEAD_BYTES: usize = 16;

/// The packed blocks of a framed value, in their order.
#[derive(Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

/// `None`: the value is not framed in this way.
///
/// # Errors
/// The head is cut.
pub fn blocks(value: &[u8]) -> Option<Result<Blocks<'_>, &'static str>> {
    let head = || value.get(HEAD_BYTES..).map(|rest| Blocks { rest }).ok_or("the xerial header is cut");
    value.starts_with(MAGIC).then(head)
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((length, behind)) = rest.split_first_chunk() else {
            return Some(Err("a xerial block's length is cut"));
        };
        let Some((block, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            return Some(Err("a xerial block is cut"));
        };
        self.rest = behind;
        Some(Ok(block))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The blocks, framed.
    pub fn framed(blocks: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut value = [MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for block in blocks {
            value.extend((block.len() as u32).to_be_bytes());
            value.extend(block);
        }
        value
    }

    #[test]
    fn blocks_come_whole_and_what_is_cut_is_named() {
        let value = framed([b"one".to_vec(), Vec::new(), b"three".to_vec()]);
        let all = |value: &[u8]| blocks(value).unwrap().unwrap().map(|b| b.map(<[u8]>::to_vec)).collect::<Vec<_>>();
        assert_eq!(all(&value), [Ok(b"one".to_vec()), Ok(Vec::new()), Ok(b"three".to_vec())]);
        assert_eq!(all(&value[..value.len() - 1]).last(), Some(&Err("a xerial block is cut")));
        assert_eq!(all(&value[..value.len() - 6]).last(), Some(&Err("a xerial block's length is cut")));
        assert_eq!(blocks(&value[..15]).unwrap().unwrap_err(), "the xerial header is cut");
        assert!(blocks(b"plain").is_none());
    }
}
