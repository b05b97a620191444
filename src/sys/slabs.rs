//! Memory that files are read into and that the producer sends from: bytes stay where they were read until the last
//! delivery that uses them is reported.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Cache lines, so that no two stretches share one; one more stands behind each slab.
const ALIGN: usize = 64;

/// A bounded number of slabs. Filled bytes are never written again until their slab is free.
pub struct Slabs {
    slabs: Vec<Slab>,
    current: usize,
    slab_bytes: usize,
    slabs_max: usize,
}

struct Slab {
    memory: NonNull<u8>,
    filled: usize,
    /// Messages that point into it.
    held: usize,
}

// SAFETY: the memory is owned by this value and reached through it alone, but for readers whom `held` counts.
unsafe impl Send for Slabs {}

impl Slabs {
    /// `slab_bytes` bounds a single read, `slabs_max` of them all memory.
    pub fn new(slab_bytes: usize, slabs_max: usize) -> Slabs {
        let slab_bytes = slab_bytes.next_multiple_of(ALIGN);
        Slabs { slabs: Vec::new(), current: 0, slab_bytes, slabs_max: slabs_max.max(1) }
    }

    /// Room for `bytes` (at most a slab's size); `None` while everything is in flight.
    pub fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        debug_assert!(bytes <= self.slab_bytes);
        if !self.slabs.get(self.current).is_some_and(|slab| slab.held == 0 || self.slab_bytes - slab.filled >= bytes) {
            self.current = match self.slabs.iter().position(|slab| slab.held == 0) {
                Some(free) => free,
                None if self.slabs.len() < self.slabs_max => self.add(),
                None => return None,
            };
        }
        let slab = &mut self.slabs[self.current];
        if slab.held == 0 {
            slab.filled = 0;
        }
        // SAFETY: within the slab's memory, and nobody is told of bytes behind `filled`.
        Some(unsafe { std::slice::from_raw_parts_mut(slab.memory.as_ptr().add(slab.filled), bytes) })
    }

    fn add(&mut self) -> usize {
        let layout = layout(self.slab_bytes + ALIGN);
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        self.slabs.push(Slab { memory, filled: 0, held: 0 });
        self.slabs.len() - 1
    }

    /// Keeps the first `bytes` of the room that was given last, for `messages`; returns the slab's number and where
    /// they stand.
    pub fn keep(&mut self, bytes: usize, messages: usize) -> (usize, *mut u8) {
        let slab = &mut self.slabs[self.current];
        // SAFETY: `filled` is within the slab.
        let at = unsafe { slab.memory.as_ptr().add(slab.filled) };
        slab.filled = (slab.filled + bytes).next_multiple_of(ALIGN).min(self.slab_bytes);
        slab.held += messages;
        (self.current, at)
    }

    /// So many messages of a slab are gone.
    pub fn release(&mut self, slab: usize, messages: usize) {
        self.slabs[slab].held -= messages;
    }
}

impl Drop for Slabs {
    fn drop(&mut self) {
        for slab in &self.slabs {
            // SAFETY: allocated with the same layout; the producer that read from it is gone before.
            unsafe { dealloc(slab.memory.as_ptr(), layout(self.slab_bytes + ALIGN)) };
        }
    }
}

fn layout(bytes: usize) -> Layout {
    match Layout::from_size_align(bytes, ALIGN) {
        Ok(layout) => layout,
        Err(e) => unreachable!("a slab is far smaller than the address space: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_used_again_when_all_of_a_slab_is_back() {
        let mut slabs = Slabs::new(100, 2);
        assert_eq!(slabs.room(100).map(|room| room.len()), Some(100));
        let (first, at) = slabs.keep(60, 2);
        assert_eq!(slabs.room(60).map(|room| room.as_ptr()), Some(at.wrapping_add(64).cast_const()));
        slabs.keep(60, 1);
        assert!(slabs.room(60).is_some());
        let (second, _) = slabs.keep(128, 1);
        assert_ne!(first, second);
        assert!(slabs.room(10).is_none());
        slabs.release(first, 2);
        assert!(slabs.room(10).is_none());
        slabs.release(first, 1);
        assert_eq!(slabs.room(100).map(|room| room.as_ptr()), Some(at.cast_const()));
    }
}
