//! Where a line is built: a stretch of bytes of fixed size, usually straight in a redo ring.

/// A bounded cursor. What does not fit is dropped and remembered, so that the emitter checks once, at the end.
pub struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Out<'a> {
    pub fn new(bytes: &'a mut [u8]) -> Out<'a> {
        Out { bytes, len: 0, full: false }
    }

    /// Bytes that the whole stretch holds.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True once something did not fit.
    pub fn is_full(&self) -> bool {
        self.full
    }

    #[inline]
    pub fn put(&mut self, part: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + part.len()) {
            Some(room) => {
                copy(room, part);
                self.len += part.len();
            }
            None => self.full = true,
        }
    }

    pub fn reset(&mut self) {
        self.len = 0;
        self.full = false;
    }

    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Copies the usual short stretches without a call: two moves that overlap in the middle.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        4..8 => ends::<4>(to, from),
        8..16 => ends::<8>(to, from),
        16..=32 => ends::<16>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        to[..N].copy_from_slice(first);
        let at = to.len() - N;
        to[at..].copy_from_slice(last);
    }
}
