//! The seccomp emitter against two oracles: a naive reading of the same profile, and libseccomp.
//!
//! Programs are executed by an interpreter of classic BPF, so that nothing here needs privileges or touches the machine.

#[path = "seccomp/interpreter.rs"]
mod interpreter;
#[path = "seccomp/libseccomp.rs"]
mod libseccomp;
#[path = "seccomp/model.rs"]
mod model;
#[path = "seccomp/profiles.rs"]
mod profiles;

use interpreter::{AARCH64, ARM, Call, I386, X86_64, is_always_allowed, run, verify};
use model::{Abi, Model};
use nrun::plan::seccomp::{Error, Filter, Kernel, Machine, compile};
use oci_spec::runtime::LinuxSeccomp;
use profiles::{Dice, containers_common, parse, random};
use serde_json::json;
use sys::seccomp as api;

fn latest() -> Kernel {
    Kernel::ask(|_| true, |_| true)
}

/// By the `AUDIT_ARCH_*` values of their native ABIs.
const MACHINES: [u32; 2] = [X86_64, AARCH64];

/// For x86-64, as in all tests that do not name a machine.
fn compiled(profile: &LinuxSeccomp) -> Filter {
    compiled_for(profile, X86_64)
}

fn compiled_for(profile: &LinuxSeccomp, machine: u32) -> Filter {
    let machine = if machine == X86_64 { Machine::X86_64 } else { Machine::AARCH64 };
    let filter = compile(profile, &latest(), machine);
    let filter = filter.unwrap_or_else(|error| panic!("{error}: {profile:?}"));
    verify(&filter.program);
    filter
}

/// Every system call number there is, beyond the last one, around those that only Arm has, and at the edges of the x32 mark.
fn calls(machine: u32) -> impl Iterator<Item = Call> {
    let plain = (0..=600).chain([1023, 1024, 0xffff, 0x3fff_ffff]).chain(0xe_fffe..0xf_0009);
    let edges = [0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
    let numbers = plain.clone().chain(plain.map(|number| number | 0x4000_0000)).chain(edges);
    let (known, foreign) = match machine {
        X86_64 => ([X86_64, I386], [0, AARCH64, ARM, u32::MAX]),
        _ => ([AARCH64, ARM], [0, X86_64, I386, u32::MAX]),
    };
    let known = numbers.flat_map(move |number| known.into_iter().map(move |arch| (arch, number)));
    let foreign = foreign.into_iter().flat_map(|arch| [(arch, 0), (arch, 59)]);
    known.chain(foreign).map(|(arch, number)| Call::new(arch, number))
}

/// Calls whose arguments are at or next to a value that a rule compares with, or that differ from it in one half.
fn with_arguments<'a>(
    profile: &LinuxSeccomp,
    machine: u32,
    dice: &'a mut Dice,
    rounds: usize,
) -> impl Iterator<Item = Call> + 'a {
    let mut values: [Vec<u64>; 6] = Default::default();
    let mut numbers = Vec::new();
    for rule in model::rules(profile) {
        let args = rule.args().as_deref().unwrap_or_default();
        for arg in args {
            for value in [arg.value(), arg.value_two().unwrap_or(0)] {
                let high = 1 << 32;
                values[arg.index()].extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
                values[arg.index()].extend([
                    value ^ high,
                    value & 0xffff_ffff,
                    value & !0xffff_ffff,
                ]);
                values[arg.index()].extend([
                    value.wrapping_add(high),
                    value.wrapping_sub(high),
                    !value,
                ]);
            }
        }
        let names = rule.names().iter().filter(|_| !args.is_empty());
        for name in names {
            for &abi in Abi::of(machine) {
                let (arch, mark) = abi.calls();
                numbers.extend(model::number(abi, name).map(|number| (arch, number | mark)));
            }
            if machine == X86_64 {
                numbers.extend(model::multiplexed(name).map(|(number, _)| (I386, number)));
            }
        }
    }
    values[0].extend(0..25); // operations of the multiplexers
    numbers.sort_unstable();
    numbers.dedup();
    let all = numbers.into_iter().flat_map(move |call| std::iter::repeat_n(call, rounds));
    all.map(move |(arch, number)| {
        let args = std::array::from_fn(|index| match values[index].as_slice() {
            [] => dice.edge(),
            values => values[dice.below(values.len())],
        });
        Call { arch, number, args }
    })
}

fn assert_follows_the_model(profile: &LinuxSeccomp, seed: u64, rounds: usize) {
    for machine in MACHINES {
        let filter = compiled_for(profile, machine);
        let model = Model::new(profile, machine);
        let mut dice = Dice::new(seed);
        for call in calls(machine).chain(with_arguments(profile, machine, &mut dice, rounds)) {
            let (found, wanted) = (run(&filter.program, &call).verdict, model.verdict(&call));
            assert_eq!(
                found,
                wanted,
                "{found:#x} instead of {wanted:#x} for {call:x?} on {machine:#x}, seed {seed}, profile {}",
                serde_json::to_string(profile).unwrap()
            );
        }
    }
}

#[test]
fn the_default_profile_compiles_to_what_it_says_for_every_call_and_argument_edge() {
    for machine in MACHINES {
        assert_follows_the_model(&containers_common(machine), 1, 2000);
    }
}

#[test]
fn random_profiles_compile_to_what_they_say() {
    for seed in 0..150 {
        assert_follows_the_model(&random(seed), seed, 40);
    }
}

#[test]
fn each_operator_compares_64_bits_on_x86_64_and_the_low_32_elsewhere() {
    let mut dice = Dice::new(7);
    for op in profiles::OPERATORS {
        for _ in 0..60 {
            let profile = parse(json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [{
                    "names": ["ioctl"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{
                        "index": dice.below(6),
                        "value": dice.edge(),
                        "valueTwo": dice.edge(),
                        "op": format!("SCMP_CMP_{op}"),
                    }],
                }],
            }));
            assert_follows_the_model(&profile, dice.word(), 100);
        }
    }
}

#[test]
fn the_default_profile_is_short_and_a_call_takes_few_steps() {
    let filter = compiled(&containers_common(X86_64));
    let worst = calls(X86_64).map(|call| run(&filter.program, &call).steps).max().unwrap();
    println!("{} instructions, at most {worst} steps without arguments", filter.program.len());
    assert!(filter.program.len() <= 450, "{} instructions", filter.program.len());
    assert!(worst <= 24, "{worst} steps");
}

#[test]
fn the_kernel_need_not_run_the_filter_for_calls_that_are_always_allowed() {
    let profile = containers_common(X86_64);
    let filter = compiled(&profile);
    let conditional = ["personality", "socket"];
    let mut found = 0;
    for number in 0..=600 {
        let name = model::name(Abi::X86_64, number).unwrap_or_default();
        let allowed = model::rules(&profile).any(|rule| {
            rule.names().iter().any(|listed| listed == name)
                && model::value(rule.action(), None) == api::RET_ALLOW
        });
        if allowed && !conditional.contains(&name) {
            assert!(is_always_allowed(&filter.program, X86_64, number), "{name}");
            found += 1;
        }
    }
    assert!(found > 250, "only {found} calls");
}

/// The rules of one name, in order, and the verdict for it with a first argument.
fn first_rule_wins(rules: &serde_json::Value, argument: u64) -> u32 {
    let profile = parse(json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": rules }));
    let mut call = Call::new(X86_64, 16);
    call.args[0] = argument;
    run(&compiled(&profile).program, &call).verdict
}

#[test]
fn of_several_rules_for_a_call_the_first_that_applies_wins() {
    let when_7 = json!([{ "index": 0, "value": 7, "op": "SCMP_CMP_EQ" }]);
    let refused = json!({ "names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": when_7 });
    let allowed = json!({ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW" });
    assert_eq!(first_rule_wins(&json!([refused, allowed]), 7), api::RET_ERRNO | 1);
    assert_eq!(first_rule_wins(&json!([refused, allowed]), 8), api::RET_ALLOW);
    assert_eq!(first_rule_wins(&json!([allowed, refused]), 7), api::RET_ALLOW);
    let redundant = json!({ "names": ["ioctl"], "action": "SCMP_ACT_KILL_THREAD" });
    assert_eq!(first_rule_wins(&json!([redundant, allowed]), 7), api::RET_ALLOW);
}

#[test]
fn two_conditions_on_one_argument_are_alternatives() {
    let either = json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
        { "index": 0, "value": 7, "op": "SCMP_CMP_EQ" },
        { "index": 0, "value": 9, "op": "SCMP_CMP_EQ" },
    ] }]);
    let verdicts = [7, 8, 9].map(|argument| first_rule_wins(&either, argument));
    assert_eq!(verdicts, [api::RET_ALLOW, api::RET_KILL_THREAD, api::RET_ALLOW]);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist_unless_the_default_lets_them_pass() {
    let newest = |default: &str| {
        let profile = parse(json!({
            "defaultAction": default,
            "syscalls": [{ "names": ["openat2"], "action": "SCMP_ACT_TRAP" }],
        }));
        let filter = compiled(&profile);
        [436, 437, 438, 1000].map(|number| run(&filter.program, &Call::new(X86_64, number)).verdict)
    };
    let (trap, nosys) = (api::RET_TRAP, api::RET_ERRNO | 38);
    assert_eq!(newest("SCMP_ACT_ERRNO"), [api::RET_ERRNO | 1, trap, nosys, nosys]);
    assert_eq!(newest("SCMP_ACT_KILL_PROCESS"), [api::RET_KILL_PROCESS, trap, nosys, nosys]);
    assert_eq!(newest("SCMP_ACT_ALLOW"), [api::RET_ALLOW, trap, api::RET_ALLOW, api::RET_ALLOW]);
    assert_eq!(newest("SCMP_ACT_LOG"), [api::RET_LOG, trap, api::RET_LOG, api::RET_LOG]);
}

#[test]
fn an_abi_that_is_not_listed_is_killed_even_where_the_default_allows() {
    let profile = parse(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"],
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }],
    }));
    let filter = compiled(&profile);
    let verdict = |arch, number| run(&filter.program, &Call::new(arch, number)).verdict;
    assert_eq!(verdict(X86_64, 83), api::RET_ERRNO | 1);
    assert_eq!(verdict(X86_64, 84), api::RET_ALLOW);
    assert_eq!(verdict(X86_64, 83 | 0x4000_0000), api::RET_KILL_THREAD);
    assert_eq!(verdict(I386, 39), api::RET_KILL_THREAD);
    assert_eq!(verdict(0xc000_00b7, 83), api::RET_KILL_THREAD);
    assert_eq!(verdict(X86_64, u32::MAX), api::RET_ALLOW, "a tracer skips a call with number -1");
}

#[test]
fn a_rule_for_a_socket_call_covers_the_i386_multiplexer() {
    let profile = parse(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": ["bind", "shmat", "accept"], "action": "SCMP_ACT_ERRNO" }],
    }));
    let filter = compiled(&profile);
    let verdict = |number, operation| {
        let mut call = Call::new(I386, number);
        call.args[0] = operation;
        run(&filter.program, &call).verdict
    };
    assert_eq!(verdict(361, 0), api::RET_ERRNO | 1, "bind by its own number");
    assert_eq!(verdict(102, 2), api::RET_ERRNO | 1, "bind by socketcall");
    assert_eq!(verdict(102, 5), api::RET_ERRNO | 1, "accept, which has no number of its own");
    assert_eq!(verdict(102, 1), api::RET_ALLOW, "socket by socketcall");
    assert_eq!(verdict(117, 21), api::RET_ERRNO | 1, "shmat by ipc");
}

#[test]
fn names_that_no_listed_architecture_has_are_reported_and_have_no_effect() {
    let profile = parse(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["mkdir", "socketcall", "no_such_call"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["no_such_call"], "action": "SCMP_ACT_KILL" },
        ],
    }));
    assert_eq!(compiled(&profile).unknown, ["socketcall", "no_such_call"]);
}

/// Looking for each among the others would take minutes.
#[test]
fn many_unknown_names_are_no_trouble() {
    let names: Vec<String> = (0..200_000).map(|number| format!("no_such_call_{number}")).collect();
    let twice = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    let profile = parse(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [twice, twice]}));
    assert_eq!(compiled(&profile).unknown, names);
}

#[test]
fn unknown_names_are_reported_once_each_in_the_order_of_the_profile() {
    let profile = parse(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["second_call", "first_call", "mkdir"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["third_call", "second_call"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["first_call"], "action": "SCMP_ACT_ALLOW" },
        ],
    }));
    assert_eq!(compiled(&profile).unknown, ["second_call", "first_call", "third_call"]);
}

fn refusal(profile: serde_json::Value, kernel: &Kernel) -> (String, Option<String>) {
    let error = compile(&parse(profile), kernel, Machine::X86_64).expect_err("refused");
    (error.to_string(), error.hint())
}

#[test]
fn what_a_profile_must_not_say_is_refused_with_its_place() {
    let rule =
        |rule: serde_json::Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let cases = [
        (
            json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a" }),
            "/defaultAction): `SCMP_ACT_NOTIFY` cannot be the default action",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1 }),
            "/defaultErrnoRet): `SCMP_ACT_KILL` does not take an errno",
        ),
        (
            rule(json!({ "names": ["read", "write"], "action": "SCMP_ACT_NOTIFY" })),
            "/syscalls/0/names/1): SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })),
            "/listenerPath): `SCMP_ACT_NOTIFY` is used and no listener is given",
        ),
        (
            rule(json!({ "names": [""], "action": "SCMP_ACT_TRAP" })),
            "/syscalls/0/names/0): a system call has no empty name",
        ),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 5 })),
            "/syscalls/0/errnoRet): `SCMP_ACT_TRAP` does not take an errno",
        ),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
            "/syscalls/0/errnoRet): 4096 is more than 4095, the largest possible",
        ),
        (
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_TRAP",
                "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] })),
            "/syscalls/0/args/0/index): there is no argument 6, only 0 to 5",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }),
            "/flags/0): `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` needs a rule with `SCMP_ACT_NOTIFY`",
        ),
    ];
    for (profile, message) in cases {
        let wanted =
            format!("cannot compile the seccomp profile (config.json /linux/seccomp{message}");
        assert_eq!(refusal(profile, &latest()), (wanted, None));
    }
}

#[test]
fn what_the_kernel_lacks_is_an_error_that_names_it_and_not_a_weaker_filter() {
    let old = Kernel::ask(|_| false, |_| false);
    let with = |action: &str, flags: &[&str]| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "flags": flags,
            "listenerPath": "/run/agent.sock",
            "syscalls": [{ "names": ["mkdir"], "action": action }],
        })
    };
    for (action, since) in
        [("SCMP_ACT_KILL_PROCESS", "4.14"), ("SCMP_ACT_LOG", "4.14"), ("SCMP_ACT_NOTIFY", "5.0")]
    {
        let (message, hint) = refusal(with(action, &[]), &old);
        assert!(
            message
                .ends_with(&format!("/syscalls/0/action): this kernel does not have `{action}`"))
        );
        assert!(hint.unwrap().contains(since));
        assert!(compile(&parse(with(action, &[])), &latest(), Machine::X86_64).is_ok());
    }
    for flag in ["LOG", "SPEC_ALLOW"] {
        let flag = format!("SECCOMP_FILTER_FLAG_{flag}");
        let (message, _) =
            refusal(with("SCMP_ACT_TRAP", &["SECCOMP_FILTER_FLAG_TSYNC", &flag]), &old);
        assert!(message.ends_with(&format!("/flags/1): this kernel does not have `{flag}`")));
    }
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"] {
        assert!(
            compile(&parse(with(action, &[])), &old, Machine::X86_64).is_ok(),
            "{action} is in every kernel"
        );
    }
}

#[test]
fn flags_are_what_the_profile_lists_and_spec_allow_when_it_has_no_list() {
    let flags = |profile: serde_json::Value, kernel: &Kernel| {
        compile(&parse(profile), kernel, Machine::X86_64).unwrap().flags
    };
    let old = Kernel::ask(|_| false, |_| false);
    let bare = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    assert_eq!(flags(bare.clone(), &latest()), api::FLAG_SPEC_ALLOW);
    assert_eq!(flags(bare, &old), 0);
    let listed = |list: &[&str]| json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": list });
    assert_eq!(flags(listed(&[]), &latest()), 0);
    assert_eq!(flags(listed(&["SECCOMP_FILTER_FLAG_TSYNC"]), &latest()), 0);
    assert_eq!(flags(listed(&["SECCOMP_FILTER_FLAG_LOG"]), &latest()), api::FLAG_LOG);
}

#[test]
fn a_profile_that_notifies_names_its_listener_and_asks_for_its_fd() {
    let notifying = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": "/run/agent.sock",
        "listenerMetadata": "MKNOD=/dev/null",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let filter = compiled(&parse(notifying));
    assert_eq!(filter.flags, api::FLAG_NEW_LISTENER | api::FLAG_WAIT_KILLABLE_RECV);
    let listener = filter.listener.unwrap();
    assert_eq!(listener.path.to_str(), Some("/run/agent.sock"));
    assert_eq!(listener.metadata.as_deref(), Some("MKNOD=/dev/null"));
    let ignored = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock" });
    let filter = compiled(&parse(ignored));
    assert_eq!((filter.listener, filter.flags & api::FLAG_NEW_LISTENER), (None, 0));
}

#[test]
fn more_rules_than_a_program_can_hold_are_an_error() {
    let rules = |count: u64| {
        let rules: Vec<_> = (0..count)
            .map(|value| {
                let args = json!([{ "index": 1, "value": value * 7, "op": "SCMP_CMP_EQ" }]);
                json!({ "names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": value % 4000, "args": args })
            })
            .collect();
        parse(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }))
    };
    let fits = compiled(&rules(1900));
    assert!(fits.program.len() > 3800);
    assert_follows_the_model(&rules(1900), 3, 1000);
    for too_many in [2100, 20_000] {
        let error = compile(&rules(too_many), &latest(), Machine::X86_64).unwrap_err();
        assert!(matches!(error, Error::TooLong { needed: 4097.., limit: 4096 }), "{error}");
    }
}

/// Where libseccomp and this emitter must agree: runc adds the rule about newer calls on top of libseccomp.
fn assert_agrees_with_libseccomp(
    oracle: &libseccomp::Libseccomp,
    profile: &LinuxSeccomp,
    machine: u32,
    seed: u64,
) {
    let theirs = match oracle.compile(profile, machine) {
        Ok(program) => program,
        Err(error) => panic!("{error}: {}", serde_json::to_string(profile).unwrap()),
    };
    verify(&theirs);
    let ours = compiled_for(profile, machine).program;
    let mut dice = Dice::new(seed);
    for call in calls(machine).chain(with_arguments(profile, machine, &mut dice, 100)) {
        let (found, wanted) = (run(&ours, &call).verdict, run(&theirs, &call).verdict);
        if found == api::RET_ERRNO | 38 && found != wanted {
            // Newer than the profile: that this is so where the model says it, other tests have shown.
            assert_eq!(Model::new(profile, machine).verdict(&call), found, "{call:x?}");
            continue;
        }
        assert_eq!(
            found,
            wanted,
            "{found:#x}, libseccomp {wanted:#x} for {call:x?} on {machine:#x}, seed {seed}, profile {}",
            serde_json::to_string(profile).unwrap()
        );
    }
}

#[test]
fn libseccomp_gives_the_same_verdicts_for_the_default_profile_by_a_longer_program() {
    let oracle = libseccomp::Libseccomp::build();
    for machine in MACHINES {
        let profile = containers_common(machine);
        assert_agrees_with_libseccomp(&oracle, &profile, machine, 1);
        let ours = compiled_for(&profile, machine).program.len();
        let theirs = oracle.compile(&profile, machine).unwrap().len();
        println!("{ours} instructions on {machine:#x}, libseccomp {theirs}");
        assert!(ours * 2 < theirs);
    }
}

#[test]
fn libseccomp_gives_the_same_verdicts_for_random_profiles_in_which_rules_do_not_overlap() {
    let oracle = libseccomp::Libseccomp::build();
    let names: Vec<&str> = profiles::NAMES.split_whitespace().collect();
    for machine in MACHINES {
        // A rule on a name that is newer than the installed libseccomp would have an effect in one of the two only.
        let known = oracle.numbers(Abi::of(machine)[0], &names).into_iter().zip(&names);
        let known: Vec<&str> = known.filter_map(|(number, &name)| number.map(|_| name)).collect();
        assert!(known.len() > 40, "libseccomp knows only {known:?}");
        for seed in 0..25 {
            let profile = profiles::without_overlap(seed, machine, &known);
            assert_agrees_with_libseccomp(&oracle, &profile, machine, seed);
        }
    }
}

#[test]
fn libseccomp_knows_the_same_numbers_for_the_names_that_it_knows() {
    let oracle = libseccomp::Libseccomp::build();
    for &abi in MACHINES.into_iter().flat_map(Abi::of) {
        let (_, mark) = abi.calls();
        let numbers = (0..600).chain(0xf_0000..0xf_0010);
        let names: Vec<&str> = numbers.filter_map(|number| model::name(abi, number)).collect();
        let known = oracle.numbers(abi, &names).into_iter().zip(&names);
        let mut compared = 0;
        for (number, name) in known.filter_map(|(number, name)| Some((number?, name))) {
            match number {
                // A pseudo number: a multiplexed call, or one that this release of libseccomp puts elsewhere only.
                ..0 => assert!(
                    abi == Abi::I386 && model::multiplexed(name).is_some()
                        || abi != Abi::Aarch64 && number < -10_000,
                    "{abi:?} {name}"
                ),
                _ => assert_eq!(
                    Some(number),
                    model::number(abi, name).map(|n| i64::from(n | mark)),
                    "{name}"
                ),
            }
            compared += 1;
        }
        // What has no number of its own on aarch64 is what other ABIs are older by.
        let least = if abi == Abi::Aarch64 { 290 } else { 330 };
        assert!(compared > least, "only {compared} of {} names", names.len());
    }
}
