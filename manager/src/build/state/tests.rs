use super::super::dockerfile::parse;
use super::super::stages::plan;
use super::*;
use bundle::digest::Digest;

/// The configuration that a stage ends with, and what its last instruction was about.
fn built(text: &str, args: &[(&str, &str)], base: &Value) -> Result<(Value, Act)> {
    let given = Given {
        args: args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Given::default()
    };
    let plan = plan(&parse(text).unwrap(), &given).unwrap();
    let mut state = State::new(json!({ "config": base }), &plan, &given);
    let mut act = Act::Nothing;
    for step in &plan.stages[0].steps {
        act = state.apply(step)?;
    }
    Ok((state.document["config"].clone(), act))
}

fn config(steps: &str, base: &Value) -> Value {
    built(&format!("FROM x\n{steps}"), &[], base).unwrap().0
}

fn run(text: &str, args: &[(&str, &str)]) -> Run {
    match built(text, args, &json!({})).unwrap().1 {
        Act::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn copy(step: &str) -> Copy {
    match built(&format!("FROM x\nWORKDIR /w\n{step}"), &[], &json!({})).unwrap().1 {
        Act::Copy(copy) => copy,
        other => panic!("{other:?}"),
    }
}

fn refused(steps: &str) -> String {
    built(&format!("FROM x\n{steps}"), &[], &json!({})).unwrap_err()
}

#[test]
fn variables_see_what_was_set_before_their_own_instruction() {
    let base = json!({"Env": ["PATH=/bin", "A=old"]});
    let steps = "ENV A=new B=$A C='$A'\nENV PATH=$PATH:/sbin\nENV D one  two\nWORKDIR /a/$A\nWORKDIR b/../c\nUSER ${NONE:-me}";
    let config = config(steps, &base);
    let env = json!(["PATH=/bin:/sbin", "A=new", "B=old", "C=$A", "D=one  two"]);
    assert_eq!(config["Env"], env);
    assert_eq!((&config["WorkingDir"], &config["User"]), (&json!("/a/new/c"), &json!("me")));
}

#[test]
fn arguments_have_the_given_value_the_default_or_that_of_the_file() {
    let text =
        "ARG G=global\nARG D=file\nFROM x\nARG G\nARG D=stage\nARG V=default\nARG E=$V-\nRUN x";
    let given = run(text, &[("V", "given"), ("undeclared", "1"), ("http_proxy", "p")]);
    let args = given.args;
    assert_eq!(given.proxies, BTreeMap::from([("http_proxy".to_owned(), "p".to_owned())]));
    let expected = [("D", "stage"), ("E", "given-"), ("G", "global"), ("V", "given")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(args.into_iter().collect::<Vec<_>>(), expected);
    // A variable of the image is not overruled by an argument.
    assert_eq!(run("FROM x\nENV V=image\nARG V=1\nRUN x", &[("V", "2")]).args, BTreeMap::new());
}

#[test]
fn a_proxy_that_is_declared_is_an_argument() {
    let declared = run("FROM x\nARG HTTP_PROXY\nRUN x", &[("HTTP_PROXY", "p")]);
    assert_eq!(declared.args, BTreeMap::from([("HTTP_PROXY".to_owned(), "p".to_owned())]));
    assert!(declared.proxies.is_empty());
}

#[test]
fn a_stage_has_the_arguments_of_the_one_that_it_begins_with() {
    let (given, text) = (Given::default(), "FROM x\nARG S=one\nFROM x\nARG S=two");
    let plan = plan(&parse(text).unwrap(), &given).unwrap();
    let mut first = State::new(json!({}), &plan, &given);
    first.apply(&plan.stages[0].steps[0]).unwrap();
    let one = BTreeMap::from([("S".to_owned(), "one".to_owned())]);
    assert_eq!(first.args(), &one);
    let mut second = State::new(json!({}), &plan, &given).with_args(first.args().clone());
    assert_eq!(second.expanded("$S"), Ok("one".to_owned()));
    second.apply(&plan.stages[1].steps[0]).unwrap();
    assert_eq!(second.expanded("$S"), Ok("two".to_owned()));
}

#[test]
fn an_entry_point_makes_the_base_images_command_void_and_not_the_stages_own() {
    let base = json!({"Cmd": ["old"]});
    assert_eq!(config("ENTRYPOINT [\"e\"]", &base).get("Cmd"), None);
    assert_eq!(
        config("CMD new\nENTRYPOINT [\"e\"]", &base)["Cmd"],
        json!(["/bin/sh", "-c", "new"])
    );
    let shell = config("SHELL [\"/bin/ash\", \"-ec\"]\nENTRYPOINT a $B", &base);
    assert_eq!(shell["Entrypoint"], json!(["/bin/ash", "-ec", "a $B"]));
}

#[test]
fn the_rest_of_the_configuration_is_set() {
    let config = config(
        "ENV P=80\nLABEL a=$P \"b c\"=\"d e\"\nEXPOSE $P 53/udp\nVOLUME /a /$P\nVOLUME [\"/x y\"]\nSTOPSIGNAL SIGINT\n\
         HEALTHCHECK --retries=2 CMD test $P\nONBUILD RUN echo $P",
        &json!({}),
    );
    assert_eq!(config["Labels"], json!({"a": "80", "b c": "d e"}));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
    assert_eq!(config["Volumes"], json!({"/a": {}, "/80": {}, "/x y": {}}));
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "test $P"]));
    assert_eq!(config["OnBuild"], json!(["RUN echo $P"]));
}

#[test]
fn a_command_is_the_shells_or_its_own() {
    assert_eq!(run("FROM x\nRUN echo $A", &[]).words, ["/bin/sh", "-c", "echo $A"]);
    assert_eq!(run("FROM x\nSHELL [\"s\"]\nRUN a", &[]).words, ["s", "a"]);
    assert_eq!(run("FROM x\nRUN [\"a\", \"$B\"]", &[]).words, ["a", "$B"]);
    assert_eq!(run("FROM x\nRUN <<E\na\nb\nE", &[]).words[2], "a\nb\n");
    assert_eq!(run("FROM x\nRUN cat <<E >f\na\nE", &[]).words[2], "cat <<E >f\na\nE");
    let script = run("FROM x\nSHELL [\"s\"]\nRUN <<E\n#!/bin/x -y\n$A\nE", &[]);
    assert_eq!(script.words, ["/dev/pipes/E"]);
    let text = "#!/bin/x -y\n$A\n".to_owned();
    assert_eq!(script.script, Some(Script { name: "E".to_owned(), text }));
    assert_eq!(run("FROM x\nRUN cat <<E\n#!a\nE", &[]).script, None);
    assert!(run("FROM x\nRUN --security=insecure a", &[]).insecure);
    assert_eq!(run("FROM x\nRUN --network=none a", &[]).network.as_deref(), Some("none"));
    let text = "FROM x\nWORKDIR /w\nENV D=c\nRUN --mount=type=cache,target=$D --mount=type=tmpfs,target=/t a";
    let targets: Vec<String> =
        run(text, &[]).mounts.into_iter().map(|mount| mount.target).collect();
    assert_eq!(targets, ["/w/c", "/t"]);
}

#[test]
fn copies_say_from_where_to_where_and_whose() {
    let one = copy("COPY --from=y --chown=5:6 --chmod=0750 a ./b/");
    assert_eq!((one.from.as_deref(), one.owner.as_deref()), (Some("y"), Some("5:6")));
    assert_eq!(one.mode.as_ref().map(|mode| mode.apply(0, false)), Some(0o750));
    assert_eq!((one.target.as_str(), one.unpack), ("/w/b/", Unpack::Never));
    assert_eq!(copy("ADD a .").target, "/w/");
    assert_eq!(copy("COPY a /").target, "/");
    assert_eq!(copy("COPY [\"a b\", \"/c d\"]").sources, ["a b"]);
    let inline = copy("ENV V=1\nCOPY <<one <<'two' x /d/\n$V\none\n$V\ntwo");
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(inline.inline, [pair("one", "1\n"), pair("two", "$V\n")]);
    assert_eq!(inline.sources, ["x"]);
}

#[test]
fn what_is_added_is_told_apart_by_how_it_is_got() {
    let add = copy("ARG H=h\nADD a https://$H/x.tar git@h:a/b https://h/c.git#v /d/");
    assert_eq!(add.sources, ["a"]);
    assert_eq!(add.urls, ["https://h/x.tar"]);
    assert_eq!(add.repositories.len(), 2);
    // COPY knows paths alone.
    assert_eq!(copy("COPY https://h/x /d").sources, ["https://h/x"]);
    assert_eq!(copy("ADD a /b").unpack, Unpack::Local);
    assert_eq!(copy("ADD --unpack=false a /b").unpack, Unpack::Never);
    assert_eq!(copy("ADD --unpack https://h/x /b").unpack, Unpack::All);
    let digest = Digest::of(b"x");
    let sum = format!("--checksum={digest}");
    assert_eq!(copy(&format!("ADD {sum} https://h/x /b")).checksum, Some(digest));
    let several = refused(&format!("ADD {sum} https://h/x https://h/y /b/"));
    assert_eq!(several, "checksum can't be specified for multiple sources");
    let local = refused(&format!("ADD {sum} x /b"));
    assert_eq!(local, "checksum can't be specified for non-HTTP(S) sources");
    for (url, name) in [
        ("https://h/a/b.tar?x=/y", Some("b.tar")),
        ("https://h/a/", Some("a")),
        ("https://h", None),
        ("https://h/?a", None),
        ("https://h/..", None),
        ("https://h/%2e%2e", None),
        ("https://h/a%2Fb", None),
        ("https://h/a%20b", Some("a b")),
    ] {
        assert_eq!(file_name(url).as_deref(), name, "{url}");
    }
}

#[test]
fn copies_leave_out_and_take_along() {
    let one = copy("COPY --parents --exclude=*.o --exclude=\"b c\" a /d/");
    assert!(one.parents && one.exclude.leaves_out("x.o") && one.exclude.leaves_out("b c"));
    assert!(!copy("COPY --parents=false a /d").parents);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (steps, why) in [
        ("RUN --security=none y", "RUN --security=none is not supported"),
        ("COPY --unpack a /b", "COPY --unpack is not supported"),
        ("ADD --parents a /b", "ADD --parents is not supported"),
        ("ADD --from=x a b", "ADD --from=x is not supported"),
        ("ADD https://jo:secret@x/ /z/", "cannot determine filename for source https://x/"),
        ("ADD --checksum=sha256:1 https://x/y /z", "invalid checksum sha256:1"),
        ("ADD --keep-git-dir=maybe a /z", "ADD --keep-git-dir=maybe is not supported"),
        ("COPY a", "requires at least two arguments"),
        ("COPY a b /c", "must be a directory and end with a /"),
        ("COPY --chmod=u+y a /b", "invalid chmod parameter"),
        ("SHELL sh", "in JSON form"),
        ("STOPSIGNAL NOPE", "Invalid signal: NOPE"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ENV A=\"${A:?is needed}\"", "A: is needed"),
        ("RUN --mount=from=$A,target=/x y", "'from' doesn't support variable expansion"),
        ("ENV A=/x,from=y\nRUN --mount=target=$A y", "'from' doesn't support variable expansion"),
    ] {
        let error = refused(steps);
        assert!(error.contains(why), "{steps}: {error}");
    }
}

#[test]
fn a_stage_has_a_path() {
    let (given, file) = (Given::default(), parse("FROM x").unwrap());
    let plan = plan(&file, &given).unwrap();
    let env = |config: Value| {
        let mut state = State::new(json!({ "config": config }), &plan, &given);
        state.provide_path();
        state.document["config"]["Env"].clone()
    };
    let docker = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env(json!({"Env": ["PATH=/x", "A=1"]})), json!(["PATH=/x", "A=1"]));
    assert_eq!(env(json!({"Env": ["A=1"]})), json!(["A=1", docker]));
    assert_eq!(env(json!({"Env": null})), json!([docker]));
}

#[test]
fn triggers_are_taken_from_the_base_image() {
    let (given, file) = (Given::default(), parse("FROM x").unwrap());
    let plan = plan(&file, &given).unwrap();
    let document = json!({"id": "old", "config": {"OnBuild": ["RUN a", "COPY b /c"]}});
    let mut state = State::new(document, &plan, &given);
    assert_eq!(state.take_triggers(), ["RUN a", "COPY b /c"]);
    assert_eq!(state.document, json!({"config": {}}));
}

#[test]
fn what_would_be_no_configuration_is_refused() {
    assert_eq!(refused("ENV $NO=b"), "invalid environment variable: =b");
    assert_eq!(refused("VOLUME []"), "VOLUME requires at least one argument");
    for step in ["CMD [\"a\", 1]", "RUN [1]", "VOLUME [1]", "COPY [1, \"a\"]", "SHELL [1]"] {
        let why = "when using JSON array syntax, arrays must be comprised of strings only";
        assert_eq!(refused(step), why, "{step}");
    }
    // A variable may leave no port.
    assert_eq!(config("EXPOSE $NO", &json!({}))["ExposedPorts"], Value::Null);
}

#[test]
fn a_trigger_keeps_its_here_documents() {
    let config = config("ONBUILD RUN <<E cat <<-F\necho $A\nE\n\ttext\n\tF\nUSER y", &json!({}));
    let trigger = "RUN <<E cat <<-F\necho $A\nE\ntext\nF";
    assert_eq!(config["OnBuild"], json!([trigger]));
    assert_eq!(config["User"], "y");
    let read = super::super::dockerfile::parse_trigger(trigger, '\\', 7).unwrap();
    let texts: Vec<&str> = read.heredocs.iter().map(|heredoc| heredoc.text.as_str()).collect();
    assert_eq!(texts, ["echo $A\n", "text\n"]);
}

#[test]
fn what_cannot_be_right_is_told_before_anything_is_made() {
    let checked = |steps: &str| {
        let (given, file) = (Given::default(), parse(&format!("FROM x\n{steps}")).unwrap());
        check(&plan(&file, &given).unwrap(), &given).map_err(|fault| (fault.line, fault.why))
    };
    assert_eq!(
        checked("RUN long\nENV A=$B\nCOPY --chwon=1 a /b"),
        Err((4, "COPY --chwon=1 a /b: COPY --chwon=1 is not supported".to_owned()))
    );
    assert_eq!(
        checked("COPY <<E /x\n$A\nE\nRUN --mount=type=bind x"),
        Err((5, "RUN --mount=type=bind x: RUN --mount=type=bind needs a target".to_owned()))
    );
    // What depends on the image, or on a variable, may be right.
    for steps in ["RUN --mount=target=. x", "STOPSIGNAL $S", "EXPOSE ${P}x", "COPY --chmod=$M a /b"]
    {
        assert_eq!(checked(steps), Ok(()), "{steps}");
    }
}
