//! The memory that a program's own file takes up.

use crate::Result;
use std::mem::size_of;

/// The headers of the program's segments, as the kernel has told us at the start.
fn segments() -> &'static [libc::Elf64_Phdr] {
    // SAFETY: getauxval only reads what the kernel has put on our stack.
    let table = unsafe { libc::getauxval(libc::AT_PHDR) };
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) };
    if table == 0 {
        return &[];
    }
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the kernel has mapped the table, of so many entries, for as long as the process lives; nobody writes it.
    unsafe { std::slice::from_raw_parts(table as *const libc::Elf64_Phdr, count) }
}

/// Gives the pages of our own code and constants back to the kernel. Whatever of them is still needed is mapped again from
/// the page cache when it is touched.
///
/// For a process that has done much once, and from then on does little, for long.
///
/// # Errors
/// Those of madvise(2).
pub fn release_program() -> Result<()> {
    let segments = segments();
    let first =
        segments.iter().find(|segment| segment.p_type == libc::PT_LOAD && segment.p_offset == 0);
    let Some(first) = first else { return Ok(()) };
    // The table comes right behind the file's header, and that is where the file's first segment begins.
    let file = segments.as_ptr() as usize - size_of::<libc::Elf64_Ehdr>();
    let page = rustix::param::page_size();
    for segment in segments {
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start =
            (file - address(first.p_vaddr) + address(segment.p_vaddr)).next_multiple_of(page);
        let end = (file - address(first.p_vaddr) + address(segment.p_vaddr + segment.p_memsz))
            / page
            * page;
        if end <= start {
            continue;
        }
        part(start, end)?;
        // SAFETY: whole pages of a segment that is mapped from a file and that nobody may write: what is dropped comes
        // back with the same contents.
        let dropped =
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        if dropped != 0 {
            return Err(crate::last_errno());
        }
    }
    Ok(())
}

/// So much is mapped around a page that is touched, at most.
const PART: usize = 32 * 1024;

/// Parts a mapping into small ones. The kernel maps the whole of what the page cache holds in one piece when a page of it
/// is touched, which may be two megabytes, but never beyond the end of a mapping (Linux 6.18). Mappings stay apart when
/// their flags differ: every other part is left out of core dumps, where unchanged pages of files are not anyway.
fn part(start: usize, end: usize) -> Result<()> {
    for place in (start.next_multiple_of(PART)..end).step_by(2 * PART) {
        let length = PART.min(end - place);
        // SAFETY: sets a flag of mappings of ours, which says nothing about their contents.
        let parted =
            unsafe { libc::madvise(place as *mut libc::c_void, length, libc::MADV_DONTDUMP) };
        if parted != 0 {
            return Err(crate::last_errno());
        }
    }
    Ok(())
}

fn address(value: libc::Elf64_Addr) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::release_program;

    fn pages_of_files() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn a_program_goes_on_after_its_pages_were_given_back() {
        // Touches many of them: a number of every length is printed.
        let text: String = (0..100).map(|n| format!("{:x} {:?}", n, f64::from(n).sqrt())).collect();
        let before = pages_of_files();
        release_program().unwrap();
        let after = pages_of_files();
        assert!(after < before, "{before} kB before, {after} kB after");
        let again: String =
            (0..100).map(|n| format!("{:x} {:?}", n, f64::from(n).sqrt())).collect();
        assert_eq!(text, again);
    }
}
