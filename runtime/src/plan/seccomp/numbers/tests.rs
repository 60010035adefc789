use super::*;
use syscalls::{aarch64, arm, x86, x86_64};

fn numbers<const COUNT: usize>(
    machine: &Machine,
    name: &str,
    abis: [Abi; COUNT],
) -> [Option<u32>; COUNT] {
    let numbers = machine.numbers(name).unwrap();
    abis.map(|abi| numbers.direct(abi))
}

#[test]
fn a_name_has_its_own_number_in_each_abi() {
    let of = |name| numbers(Machine::X86_64, name, [Abi::X86_64, Abi::X32, Abi::I386]);
    assert_eq!(of("read"), [Some(0), Some(0), Some(3)]);
    assert_eq!(of("execve"), [Some(59), Some(520), Some(11)]);
    assert_eq!(of("pwritev2"), [Some(328), Some(547), Some(379)]);
    assert_eq!(of("socketcall"), [None, None, Some(102)]);
    assert_eq!(of("break"), [None, None, Some(17)]);
    assert_eq!(of("uselib"), [Some(134), None, Some(86)]);
    assert_eq!(of("file_setattr"), [Some(469); 3]);
    assert_eq!(of("rseq_slice_yield"), [Some(471); 3]);
    let of = |name| numbers(Machine::AARCH64, name, [Abi::Aarch64, Abi::Arm]);
    assert_eq!(of("read"), [Some(63), Some(3)]);
    assert_eq!(of("open"), [None, Some(5)]);
    assert_eq!(of("newfstatat"), [Some(79), None]);
    assert_eq!(of("fstatat64"), [None, Some(327)]);
    assert_eq!(of("futex_time64"), [None, Some(422)], "64-bit programs have futex");
    assert_eq!(of("sync_file_range2"), of("arm_sync_file_range"));
    assert_eq!(of("file_setattr"), [Some(469); 2]);
    for name in ["no_such_call", ""] {
        assert_eq!(Machine::X86_64.numbers(name), None);
        assert_eq!(Machine::AARCH64.numbers(name), None);
    }
}

#[test]
fn what_only_arm_has_stands_apart() {
    let (first, count) = Abi::Arm.private().unwrap();
    let of = |name| numbers(Machine::AARCH64, name, [Abi::Aarch64, Abi::Arm]);
    assert_eq!(of("breakpoint"), [None, Some(Numbers::END as u32)]);
    assert_eq!(of("get_tls"), [None, Some((Numbers::END + count - 1) as u32)]);
    assert_eq!(first + count as u32 - 1, 0xf_0006, "__ARM_NR_get_tls");
    assert_eq!(Machine::X86_64.numbers("cacheflush"), None);
}

#[test]
fn an_operation_is_multiplexed_on_i386_alone() {
    let semop = Machine::X86_64.numbers("semop").unwrap();
    assert_eq!(semop.multiplexed(Abi::I386), Some(Operation { multiplexer: 117, code: 1 }));
    assert_eq!(semop.multiplexed(Abi::X86_64), None);
    assert_eq!(semop.direct(Abi::I386), None, "i386 has no number of its own for it");
    assert_eq!(Machine::X86_64.numbers("ioctl").unwrap().multiplexed(Abi::I386), None);
    assert_eq!(Machine::AARCH64.numbers("semop").unwrap().multiplexed(Abi::Arm), None);
}

#[test]
fn a_table_holds_every_name_of_the_crate() {
    let x86_64 = |name| Machine::X86_64.numbers(name).unwrap();
    for call in x86_64::Sysno::iter() {
        assert_eq!(x86_64(call.name()).native, Some(call.id() as u32), "{call}");
    }
    for call in x86::Sysno::iter().filter(|call| *call != x86::Sysno::r#break) {
        assert_eq!(x86_64(call.name()).compat, Some(call.id() as u32), "{call}");
    }
    let aarch64 = |name| Machine::AARCH64.numbers(name).unwrap();
    for call in aarch64::Sysno::iter().filter(|call| *call != aarch64::Sysno::fstatat) {
        let is_time64 = matches!(call.id(), 403..=423);
        let number = Some(call.id() as u32).filter(|_| !is_time64);
        assert_eq!(aarch64(call.name()).native, number, "{call}");
    }
    for call in arm::Sysno::iter() {
        assert_eq!(aarch64(call.name()).compat, Some(call.id() as u32), "{call}");
    }
}

#[test]
fn the_names_that_are_added_are_still_missing_from_the_crate() {
    for (name, number) in NEWER {
        assert_eq!(name.parse::<x86_64::Sysno>(), Err(()), "the crate has `{name}` by now");
        assert!(x86_64::Sysno::new(usize::from(number)).is_none());
        assert!(aarch64::Sysno::new(usize::from(number)).is_none());
    }
}
