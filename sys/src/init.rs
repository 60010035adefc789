//! The init of containers that were made with `--init`, as an executable file's bytes.

/// A static program of some kilobytes: `init [--] PROGRAM [ARG...]`. It passes signals on and collects processes.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

#[cfg(test)]
mod tests {
    use super::PROGRAM;
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::process::Command;

    fn init() -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("init-{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o700).open(&path).unwrap();
        file.write_all(PROGRAM).unwrap();
        path
    }

    #[test]
    fn the_init_is_small_and_ends_as_its_program_ends() {
        assert!(PROGRAM.starts_with(b"\x7fELF"));
        // On aarch64 its parts lie 64 KiB apart in the file, for kernels with pages as large as that.
        let most = if cfg!(target_arch = "aarch64") { 72 } else { 64 };
        assert!(PROGRAM.len() < most * 1024, "{} bytes", PROGRAM.len());
        let path = init();
        let code = |words: &[&str]| Command::new(&path).args(words).output().unwrap();
        assert_eq!(code(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
        assert_eq!(code(&["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
        let missing = code(&["--", "no-such-program"]);
        assert_eq!(missing.status.code(), Some(127));
        assert_eq!(
            String::from_utf8(missing.stderr).unwrap(),
            "init: cannot run `no-such-program`: No such file or directory\n"
        );
        assert_eq!(code(&["--", "/"]).status.code(), Some(126));
        std::fs::remove_file(path).unwrap();
    }
}
