//! The memory of a program that runs for some milliseconds on one thread: small blocks of our own, all others of dlmalloc, behind a
//! flag.
//!
//! `nrun` allocates a thousand times in the few milliseconds that it runs. A mutex of the C library around each call costs as much as the
//! call, and dlmalloc, which keeps blocks for long and joins them when they are free, twice as much as is needed here. It also writes to
//! both ends of what is freed, and in a process that has just been cloned each page that is written to is copied first.
//!
//! Small blocks are cut from a region, one behind the other, in steps of 16 bytes and with nothing in between: whoever frees a block
//! says how long it is. What is free waits in a list for the next block of its size.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

/// What one thread uses at a time, behind a flag.
struct Flagged<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: whoever has set the flag, and nobody else, uses what is in the cell: see `Flagged::with`.
unsafe impl<T: Send> Sync for Flagged<T> {}

impl<T> Flagged<T> {
    const fn new(value: T) -> Flagged<T> {
        Flagged { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// A second thread waits, which is rare enough for no more than that. A process is cloned only while there is one thread, so that
    /// the flag is not set in it.
    fn with<R>(&self, call: impl FnOnce(&mut T) -> R) -> R {
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: the flag was not set, and is set until the reference is gone: there is no other. `call` does not come back here,
        // for dlmalloc gets its memory from the kernel.
        let result = call(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

/// An allocator to be made the program's `#[global_allocator]`.
pub struct Heap(Flagged<Blocks>);

impl Heap {
    /// An allocator without memory.
    #[must_use]
    pub const fn new() -> Heap {
        Heap(Flagged::new(Blocks::new()))
    }
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new()
    }
}

/// Set once this process has cloned itself, and both have the same memory until one of them writes to it.
static CLONED: AtomicBool = AtomicBool::new(false);

/// From here on, blocks that are there now are not given back: whoever frees one writes to its page, which the kernel would
/// copy first, for a few bytes that a process with as little to do as ours has left does not need.
pub(crate) fn keep_what_is_there() {
    CLONED.store(true, Ordering::Relaxed);
}

/// Sizes and alignments are multiples of this many bytes.
const STEP: usize = 16;
/// How many sizes of small blocks there are.
const SIZES: usize = 64;
/// The longest small block in bytes.
const SMALL: usize = STEP * SIZES;
/// From so many bytes, which dlmalloc gives out, small blocks are cut.
const REGION: usize = 32 * 1024;

/// How many regions are remembered to be left alone after a clone. Two or three are there then; what is freed in more than these is written to.
const REMEMBERED: usize = 5;

/// A free block: the next one of its size.
type Free = Option<NonNull<u8>>;

struct Blocks {
    /// Free blocks of each size.
    free: [Free; SIZES],
    /// What is left of the region.
    rest: Range<*mut u8>,
    /// Where the region begins.
    region: *mut u8,
    /// What was cut from regions before the process was cloned: the last one first.
    kept: Option<[Range<*mut u8>; REMEMBERED]>,
    /// Where the regions before this one begin, the last one first.
    earlier: [*mut u8; REMEMBERED - 1],
    /// Where the blocks of dlmalloc lie that were given out before the process was cloned, as addresses.
    large_kept: Range<usize>,
    large: Dlmalloc,
}

// SAFETY: the pointers are to memory that belongs to no thread.
unsafe impl Send for Blocks {}

impl Blocks {
    const fn new() -> Blocks {
        let none = ptr::null_mut();
        Blocks {
            free: [None; SIZES],
            rest: none..none,
            region: none,
            kept: None,
            earlier: [none; REMEMBERED - 1],
            large_kept: Range { start: usize::MAX, end: 0 },
            large: Dlmalloc::new(),
        }
    }

    /// Which of the sizes such a block has; none of them if it is dlmalloc's.
    fn size_of(layout: Layout) -> Option<usize> {
        let is_small = layout.align() <= STEP && 0 < layout.size() && layout.size() <= SMALL;
        is_small.then(|| (layout.size() - 1) / STEP)
    }

    /// # Safety
    /// As [`GlobalAlloc::alloc`].
    unsafe fn allocate(&mut self, layout: Layout) -> *mut u8 {
        if let Some(size) = Blocks::size_of(layout) {
            return self.small(size);
        }
        // SAFETY: the caller vouches for a layout that is not empty.
        let block = unsafe { self.large.malloc(layout.size(), layout.align()) };
        self.noted(block, layout)
    }

    /// Notes that a block is dlmalloc's. One that comes after a clone may lie among those that were there before, and is not given back
    /// then: that ends when the room between them is used up.
    fn noted(&mut self, block: *mut u8, layout: Layout) -> *mut u8 {
        self.notice_clone();
        if self.kept.is_none() && !block.is_null() {
            let Range { start, end } = &mut self.large_kept;
            *start = block.addr().min(*start);
            *end = (block.addr() + layout.size()).max(*end);
        }
        block
    }

    /// Pages that come right from the kernel are not touched for it.
    ///
    /// # Safety
    /// As [`GlobalAlloc::alloc_zeroed`].
    unsafe fn allocate_zeroed(&mut self, layout: Layout) -> *mut u8 {
        let Some(size) = Blocks::size_of(layout) else {
            // SAFETY: the caller vouches for a layout that is not empty.
            let block = unsafe { self.large.calloc(layout.size(), layout.align()) };
            return self.noted(block, layout);
        };
        let block = self.small(size);
        if !block.is_null() {
            // SAFETY: the block is at least that long, and nobody has it yet.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    fn small(&mut self, size: usize) -> *mut u8 {
        self.notice_clone();
        if let Some(block) = self.free[size] {
            // SAFETY: a block in the list is nobody's, at least 16 bytes long, and begins with the next one: see `give_back`.
            self.free[size] = unsafe { block.cast::<Free>().read() };
            return block.as_ptr();
        }
        let length = (size + 1) * STEP;
        if self.rest.end.addr() - self.rest.start.addr() < length && !self.next_region() {
            return ptr::null_mut();
        }
        let block = self.rest.start;
        // SAFETY: so much is left of the region.
        self.rest.start = unsafe { block.add(length) };
        block
    }

    /// Another region. What is left of the last one is less than a small block, and stays unused.
    fn next_region(&mut self) -> bool {
        // SAFETY: the size is not 0 and the alignment a power of two.
        let region = unsafe { self.large.malloc(REGION, STEP) };
        if region.is_null() {
            return false;
        }
        self.earlier.rotate_right(1);
        self.earlier[0] = std::mem::replace(&mut self.region, region);
        // SAFETY: the region is that long.
        self.rest = region..unsafe { region.add(REGION) };
        true
    }

    fn notice_clone(&mut self) {
        if self.kept.is_none() && CLONED.load(Ordering::Relaxed) {
            self.keep();
        }
    }

    /// What was cut from the regions so far is not written to any more, nor what lies free in them.
    #[cold]
    fn keep(&mut self) {
        self.free = [None; SIZES];
        let whole = |region: *mut u8| {
            region..region.wrapping_add(if region.is_null() { 0 } else { REGION })
        };
        let [first, second, third, fourth] = self.earlier.map(whole);
        self.kept = Some([self.region..self.rest.start, first, second, third, fourth]);
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn give_back(&mut self, block: *mut u8, layout: Layout) {
        self.notice_clone();
        let Some(size) = Blocks::size_of(layout) else {
            if self.kept.is_some() && self.large_kept.contains(&block.addr()) {
                return;
            }
            // SAFETY: the caller vouches for a block of this allocator, which as large as that is dlmalloc's.
            return unsafe { self.large.free(block, layout.size(), layout.align()) };
        };
        if self.kept.as_ref().is_some_and(|kept| kept.iter().any(|part| part.contains(&block))) {
            return;
        }
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the block is free, at least as long as a pointer, and begins at a multiple of 16.
        unsafe { block.cast::<Free>().write(self.free[size]) };
        self.free[size] = Some(block);
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches that the new size makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Blocks::size_of(layout), Blocks::size_of(wanted)) {
            (None, None) => {
                // SAFETY: the block is dlmalloc's, and stays so.
                let block =
                    unsafe { self.large.realloc(block, layout.size(), layout.align(), size) };
                self.noted(block, wanted)
            }
            (Some(old), Some(new)) if old == new => block,
            (Some(old), Some(new)) if self.is_last(block, old, new) => {
                // SAFETY: the region is that long: see `is_last`.
                self.rest.start = unsafe { block.add((new + 1) * STEP) };
                block
            }
            _ => {
                // SAFETY: the new size is not 0.
                let moved = unsafe { self.allocate(wanted) };
                if !moved.is_null() {
                    // SAFETY: both blocks are as long as the shorter size, and they do not overlap.
                    unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
                    // SAFETY: the caller vouches for the block and its layout.
                    unsafe { self.give_back(block, layout) };
                }
                moved
            }
        }
    }

    /// Whether a block is the last that was cut from the region, and can have another size where it is.
    fn is_last(&self, block: *mut u8, old: usize, new: usize) -> bool {
        let (start, end) = (self.rest.start.addr(), self.rest.end.addr());
        block.addr() + (old + 1) * STEP == start && block.addr() + (new + 1) * STEP <= end
    }
}

// SAFETY: blocks have the size and alignment that is asked for and do not overlap: small ones are cut from regions one behind the other,
// or were given back, and dlmalloc keeps to that, too. A null pointer says that there is no memory; nothing in here panics.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for a layout that is not empty.
        self.0.with(|blocks| unsafe { blocks.allocate(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.0.with(|blocks| unsafe { blocks.allocate_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches for a block of this allocator and for the layout that it was asked for with.
        self.0.with(|blocks| unsafe { blocks.give_back(block, layout) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, and for a new size that is not 0.
        self.0.with(|blocks| unsafe { blocks.resize(block, layout, size) })
    }
}

/// For a larger program, which may run for long: dlmalloc alone, which joins what is free. The compiler is not to copy it to every place
/// that allocates or frees: they are a tenth of `nman`.
pub struct LongHeap(Flagged<Dlmalloc>);

impl LongHeap {
    /// An allocator without memory.
    #[must_use]
    pub const fn new() -> LongHeap {
        LongHeap(Flagged::new(Dlmalloc::new()))
    }
}

impl Default for LongHeap {
    fn default() -> LongHeap {
        LongHeap::new()
    }
}

// SAFETY: dlmalloc keeps to the contract. A null pointer says that there is no memory; nothing in here panics.
unsafe impl GlobalAlloc for LongHeap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for a layout that is not empty.
        self.0.with(|large| unsafe { large.malloc(layout.size(), layout.align()) })
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.0.with(|large| unsafe { large.calloc(layout.size(), layout.align()) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches for a block of this allocator and for the layout that it was asked for with.
        self.0.with(|large| unsafe { large.free(block, layout.size(), layout.align()) });
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, and for a new size that is not 0.
        self.0.with(|large| unsafe { large.realloc(block, layout.size(), layout.align(), size) })
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

    const LAYOUT: Layout = Layout::new::<[u64; 5]>();

    /// SAFETY of what follows: the layout is not empty, and each block is freed once at most, with that layout.
    fn allocate(heap: &Heap) -> *mut u8 {
        // SAFETY: see above.
        unsafe { heap.alloc(LAYOUT) }
    }

    #[test]
    fn a_free_block_is_given_out_again_and_the_last_one_grows_where_it_is() {
        let heap = Heap::new();
        let [first, second] = [allocate(&heap), allocate(&heap)];
        assert_eq!(second.addr() - first.addr(), 48, "one behind the other");
        // SAFETY: see `allocate`.
        unsafe { heap.dealloc(first, LAYOUT) };
        assert_eq!(allocate(&heap), first);
        // SAFETY: as above; the size is not 0.
        let grown = unsafe { heap.realloc(second, LAYOUT, 400) };
        assert_eq!(grown, second);
        // SAFETY: as above.
        let moved = unsafe { heap.realloc(first, LAYOUT, 400) };
        assert_ne!(moved, first);
    }

    #[test]
    fn what_is_asked_for_as_zero_is_zero_even_where_it_was_used_before() {
        let heap = Heap::new();
        for size in [40, 5000] {
            let layout = Layout::from_size_align(size, 8).unwrap();
            // SAFETY: the layout is not empty.
            let used = unsafe { heap.alloc(layout) };
            // SAFETY: the block is that long.
            unsafe { used.write_bytes(7, size) };
            // SAFETY: it is of this allocator, with this layout.
            unsafe { heap.dealloc(used, layout) };
            // SAFETY: the layout is not empty.
            let zero = unsafe { heap.alloc_zeroed(layout) };
            assert_eq!(zero, used, "the same block");
            // SAFETY: the block is that long, and was written to.
            let bytes = unsafe { std::slice::from_raw_parts(zero, size) };
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_large_block_that_was_there_before_a_clone_is_not_given_back_and_a_later_one_is() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(5000, 8).unwrap();
        // SAFETY: the layout is not empty, and each block is freed once, with it.
        let allocate = || unsafe { heap.alloc(layout) };
        // SAFETY: as above.
        let free = |block| unsafe { heap.dealloc(block, layout) };
        let before = allocate();
        keep_what_is_there();
        free(before);
        let after = allocate();
        assert_ne!(after, before);
        free(after);
        assert_eq!(allocate(), after, "what came later is used again");
    }

    /// Each page of a process that was cloned is copied when it is written to.
    #[test]
    fn what_was_there_before_a_clone_is_not_written_to_when_it_is_freed() {
        let heap = Heap::new();
        // As a long seccomp profile does, they fill more than one region.
        let blocks: Vec<*mut u8> = (0..2 * REGION / 48).map(|_| allocate(&heap)).collect();
        let (free, before) = blocks.split_last().unwrap();
        // SAFETY: see `allocate`.
        unsafe { heap.dealloc(*free, LAYOUT) };
        // SAFETY: each block is that long.
        before.iter().for_each(|block| unsafe { block.write_bytes(7, LAYOUT.size()) });
        keep_what_is_there();
        for block in before {
            // SAFETY: as above.
            unsafe { heap.dealloc(*block, LAYOUT) };
            // SAFETY: the heap never gives that memory back to the kernel.
            assert_eq!(unsafe { block.cast::<[u8; 40]>().read() }, [7; 40]);
        }
        let after = allocate(&heap);
        assert!(after != *free && !before.contains(&after));
        // SAFETY: as above.
        unsafe { heap.dealloc(after, LAYOUT) };
        assert_eq!(allocate(&heap), after, "what came later is used again");
    }
}
