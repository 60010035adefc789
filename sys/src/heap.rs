//! The memory of a program that is mostly one thread: dlmalloc behind a flag.
//!
//! dlmalloc's own global allocator takes a mutex of the C library for each call, which costs as much as the allocation itself, and
//! `nrun` allocates a thousand times in the few milliseconds that it runs.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// An allocator to be made the program's `#[global_allocator]`.
pub struct Heap {
    taken: AtomicBool,
    dlmalloc: UnsafeCell<Dlmalloc>,
}

// SAFETY: whoever has set the flag, and nobody else, uses what is in the cell: see `Heap::with`.
unsafe impl Sync for Heap {}

impl Heap {
    /// An allocator without memory.
    #[must_use]
    pub const fn new() -> Heap {
        Heap { taken: AtomicBool::new(false), dlmalloc: UnsafeCell::new(Dlmalloc::new()) }
    }

    /// A second thread waits, which is rare enough for no more than that. A process is cloned only while there is one thread, so that
    /// the flag is not set in it.
    fn with<T>(&self, call: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: the flag was not set, and is set until the reference is gone: there is no other. `call` does not come back here,
        // for dlmalloc gets its memory from the kernel.
        let result = call(unsafe { &mut *self.dlmalloc.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new()
    }
}

// SAFETY: dlmalloc gives out blocks of the size and alignment that it is asked for, which do not overlap, and a null pointer when
// there is no memory; nothing in here panics.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for a layout that is not empty.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches for a block of this allocator and for the layout that it was asked for with.
        self.with(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, and for a new size that is not 0.
        self.with(|heap| unsafe { heap.realloc(block, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_blocks_that_do_not_overlap() {
        static HEAP: Heap = Heap::new();
        let fill = |byte: u8| {
            for size in (1..4000).step_by(7) {
                let layout = Layout::from_size_align(size, 16).unwrap();
                // SAFETY: the layout is not empty.
                let block = unsafe { HEAP.alloc(layout) };
                assert!(!block.is_null() && block.addr().is_multiple_of(16));
                // SAFETY: the block is that long.
                unsafe { block.write_bytes(byte, size) };
                // SAFETY: it is of this allocator, with this layout.
                let block = unsafe { HEAP.realloc(block, layout, size + 64) };
                // SAFETY: what was written is still that long.
                let kept = unsafe { std::slice::from_raw_parts(block, size) };
                assert!(kept.iter().all(|found| *found == byte));
                let layout = Layout::from_size_align(size + 64, 16).unwrap();
                // SAFETY: as above, with the layout that it has now.
                unsafe { HEAP.dealloc(block, layout) };
            }
        };
        std::thread::scope(|scope| {
            for byte in 1..5 {
                scope.spawn(move || fill(byte));
            }
        });
    }
}
