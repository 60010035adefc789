//! The words of a system error inside one of our messages: lower case, without the number that `io::Error` appends, as in
//! "no such file or directory". Engines match these words, so there is one place that makes them. And what kind of reason it is,
//! where that decides what is done.

use std::io;

/// What `error` says, in the form that ends a message of ours.
pub fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "unexpected end of data".to_owned();
    }
    // What a library adds behind the number, a path, is known better by who writes the message.
    sys::mid_sentence(&error.to_string())
}

/// Whether a disk has no room, or no more for us (ENOSPC, EDQUOT): what makes room does without it then.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_loses_its_number_and_its_capital_unless_it_is_an_acronym() {
        let error = io::Error::from(rustix::io::Errno::NOENT);
        assert_eq!(reason(&error), "no such file or directory");
        assert_eq!(reason(&rustix::io::Errno::IO.into()), "I/O error");
    }

    #[test]
    fn the_path_of_a_temporary_file_is_left_out() {
        let error = tempfile::tempdir_in("/nowhere").unwrap_err();
        assert!(error.to_string().contains("at path"), "{error}");
        assert_eq!(reason(&error), "no such file or directory");
    }

    #[test]
    fn a_disk_without_room_and_one_without_room_for_us_are_full() {
        use rustix::io::Errno;
        let full = |errno: Errno| is_full(&errno.into());
        assert!(full(Errno::NOSPC) && full(Errno::DQUOT));
        assert!(!full(Errno::ROFS) && !full(Errno::FBIG));
    }

    #[test]
    fn a_message_of_ours_is_kept() {
        assert_eq!(reason(&io::Error::other("blob is short")), "blob is short");
    }
}
