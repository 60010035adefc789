use super::*;
use serde_json::{Map, json};

fn container() -> Value {
    json!({
        "Id": "abc",
        "Name": "/web",
        "State": {"Status": "running", "Pid": 42, "Running": true},
        "Args": ["-c", "sleep 1"],
        "Config": {"Labels": {"com.example": "x", "n": "2"}, "Env": ["A=1", "B=2"]},
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null},
            "Networks": {"bridge": {"IPAddress": "10.0.0.2"}, "b": {"IPAddress": "10.1.0.2"}},
        },
        "Mounts": [],
    })
}

fn filled(text: &str) -> Result<String, Fault> {
    let dot = container();
    Template::parse(text)?.render(&Context { dot: &dot, methods: &Map::new(), foreign: false })
}

#[test]
fn a_lines_tabs_may_be_written_as_two_characters_beside_actions() {
    let line = |text: &str| {
        let dot = container();
        let context = Context { dot: &dot, methods: &Map::new(), foreign: false };
        Template::parse_line(text)?.render(&context)
    };
    assert_eq!(line(r"\t{{.Id}}\t{{.Name}}\n").unwrap(), "\tabc\t/web\n");
    assert_eq!(line(r#"{{.Id}}{{"\n"}}{{.Name}}"#).unwrap(), "abc\n/web");
    assert!(line("{{.Id").is_err());
}

#[track_caller]
fn gives(text: &str, expected: &str) {
    match filled(text) {
        Ok(got) => assert_eq!(got, expected, "{text}"),
        Err(fault) => panic!("{text}: {fault}"),
    }
}

#[track_caller]
fn fails(text: &str, expected: &str) {
    match filled(text) {
        Ok(got) => panic!("{text} gives {got:?}"),
        Err(fault) => {
            assert_eq!(fault.to_string(), format!("template parsing error: template: {expected}"));
        }
    }
}

#[test]
fn fields_and_whole_objects_are_printed_as_go_prints_them() {
    gives("{{.Id}} {{ .State.Status }}", "abc running");
    gives("{{.State}}", "{running 42 true}");
    gives("{{.Config.Labels}}", "map[com.example:x n:2]");
    gives("{{.NetworkSettings.Ports}}", "map[53/udp:[] 80/tcp:[{0.0.0.0 8080}]]");
    gives("{{.Args}} {{.State.Pid}} {{.State.Running}}", "[-c sleep 1] 42 true");
    gives("{{json .Args}}{{json .State.Status}}", r#"["-c","sleep 1"]"running""#);
    gives("{{json .Config.Labels}}", r#"{"com.example":"x","n":"2"}"#);
    gives("no action", "no action");
    // Of an object, what a shell has left is left; Go's own strings have tabs.
    gives(r#"a\tb{{"\t"}}{{`\n`}}c"#, "a\\tb\t\\nc");
}

#[test]
fn what_people_write_after_inspect_works() {
    gives("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "10.1.0.2 10.0.0.2 ");
    gives(r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#, "8080");
    gives(r#"{{index .Config.Labels "com.example"}}"#, "x");
    gives(r#"[{{index .Config.Labels "absent"}}]"#, "[]");
    gives(
        "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}}:{{if $conf}}{{(index $conf 0).HostPort}}{{else}}-{{end}};{{end}}",
        "53/udp:-;80/tcp:8080;",
    );
    gives("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n");
    gives(r#"{{join .Args " "}}|{{len .Config.Env}}"#, "-c sleep 1|2");
    gives("{{.Name | printf \"%s!\" | upper}}", "/WEB!");
    gives("{{if .State.Running}}up{{else}}down{{end}}", "up");
    gives("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none");
    gives("{{with .State}}{{.Pid}}{{end}}{{with .Mounts}}x{{else}}no{{end}}", "42no");
    gives("{{slice .Name 1}} {{title \"a b\"}} {{lower \"AB\"}}", "web A B ab");
    gives(r#"{{range $i, $a := .Args}}{{if $i}}, {{end}}{{$a}}{{end}}"#, "-c, sleep 1");
    gives(r#"{{range split "a,b" ","}}<{{.}}>{{end}}"#, "<a><b>");
    gives("{{range .Mounts}}x{{else}}none{{end}}", "none");
}

#[test]
fn conditions_compare_and_combine() {
    gives(r#"{{if eq .State.Status "exited" "running"}}y{{end}}"#, "y");
    gives("{{if and .State.Running (gt .State.Pid 1)}}y{{else}}n{{end}}", "y");
    gives("{{if or .Mounts (not .Args)}}y{{else if ne .State.Pid 42}}z{{else}}n{{end}}", "n");
    gives("{{if and .Absent .Absent.More}}y{{else}}n{{end}}", "n");
    gives("{{lt 1 2}} {{ge \"b\" \"a\"}} {{le 2 1}}", "true true false");
    gives("{{$x := 1}}{{if .Id}}{{$x = 2}}{{end}}{{$x}}", "2");
    gives("{{range .Args}}{{if eq . \"-c\"}}{{continue}}{{end}}{{.}}{{break}}{{end}}", "sleep 1");
    gives("{{with $x := .State.Pid}}{{$x}}{{end}}{{$.Id}}", "42abc");
}

#[test]
fn white_space_is_trimmed_where_a_hyphen_says_so() {
    gives("a {{- .Id -}} b", "aabcb");
    gives("a {{.Id}} b", "a abc b");
    gives("a{{/* no */}}b {{- /* x */ -}} c", "abc");
    gives("{{-3}}", "-3");
}

#[test]
fn printf_pads_and_converts() {
    gives(
        r#"{{printf "%-6s|%4d|%q|%05d|%.2s|%x|%%" .Id 42 .Id 42 .Id 255}}"#,
        "abc   |  42|\"abc\"|00042|ab|ff|%",
    );
    gives(r#"{{printf "%.1f %t %v" 1.25 true .Args}}"#, "1.2 true [-c sleep 1]");
    gives(r#"{{printf "%s %d" .Id}}"#, "abc %!d(MISSING)");
    gives(r#"{{printf "%.f|%.s|%.f" 2.5 .Id 7}}"#, "2||7");
    gives(r#"{{len (printf "%.70000f" 1.5)}} {{len (printf "%70000d" 1)}}"#, "10002 10000");
    gives(r#"{{pad .Id 1 2}}|{{truncate .Id 2}}|{{print 1 2 "a" 3}}"#, " abc  |ab|1 2a3");
}

#[test]
fn a_field_is_found_by_the_spelling_that_go_has_for_it() {
    gives("{{.ID}}{{with .State}} {{.PID}}{{end}}", "abc 42");
    fails("{{.id}}", r#":1:2: executing "" at <.id>: map has no entry for key "id""#);
    gives("[{{.Config.Labels.N}}]", "[<no value>]");
}

#[test]
fn what_is_not_set_is_printed_as_what_it_would_be() {
    gives("[{{.Config.StopSignal}}]{{.Config.OnBuild}}{{.Config.Shell}}", "[][][]");
    gives("{{.Config.ExposedPorts}} {{.Config.Healthcheck}}", "map[] <nil>");
    gives("{{with .Config}}{{if .StopSignal}}y{{else}}n{{end}}{{end}}", "n");
    gives("{{json .Config.OnBuild}}{{json .Config.StopSignal}}", "null\"\"");
    fails(
        "{{.Config.Odd}}",
        r#":1:2: executing "" at <.Config.Odd>: map has no entry for key "Odd""#,
    );
}

#[test]
fn a_character_that_is_cut_is_lost_byte_by_byte() {
    gives(r#"{{slice "aäb" 0 2}}|{{slice "aäb" 2}}"#, "a\u{fffd}|\u{fffd}b");
    gives(r#"{{slice "日" 0 2}}"#, "\u{fffd}\u{fffd}");
}

#[test]
fn a_method_wants_its_argument() {
    let dot = container();
    let methods = Map::from_iter([(LABEL.to_owned(), json!({"a": "b"}))]);
    let context = Context { dot: &dot, methods: &methods, foreign: true };
    let render = |text: &str| Template::parse(text).unwrap().render(&context);
    assert_eq!(render(r#"{{.Label "a"}}"#).unwrap(), "b");
    let fault = render("{{.Label}}").unwrap_err().to_string();
    assert!(
        fault.ends_with("at <.Label>: wrong number of args for Label: want 1 got 0"),
        "{fault}"
    );
}

#[test]
fn a_map_of_others_has_no_value_for_what_it_has_not() {
    gives("{{.Config.Labels.absent}}", "<no value>");
}

#[test]
fn a_slip_is_named_with_its_place_and_what_there_is() {
    fails(
        "{{.State.Stauts}}",
        r#":1:2: executing "" at <.State.Stauts>: map has no entry for key "Stauts""#,
    );
    let hint = filled("{{.State.Stauts}}").unwrap_err().hint().unwrap();
    assert_eq!(hint, "did you mean `.Status`? fields are .Status .Pid .Running");
    fails("{{.Id.X}}", r#":1:2: executing "" at <.Id.X>: can't evaluate field X"#);
    fails("\n{{.Id", ":2: unclosed action");
    fails("{{if .Id}}x", ":1: unexpected EOF: {{end}} is missing");
    fails("{{end}}", ":1: unexpected {{end}}");
    fails("{{}}", ":1: missing value for command");
    fails("{{Id}}", r#":1: function "Id" not defined"#);
    fails("{{(.Id}}", ":1: unclosed left paren");
    fails("{{.Id)}}", ":1: unexpected right paren");
    fails("{{\"x}}", ":1: unterminated quoted string");
    fails(
        "{{.Id .Name}}",
        r#":1:2: executing "" at <.Id>: can't give argument to non-function .Id"#,
    );
    fails(
        "{{index .Args 7}}",
        r#":1:2: executing "" at <index>: error calling index: index out of range: 7"#,
    );
    fails("{{$y}}", r#":1:2: executing "" at <$y>: undefined variable: $y"#);
    fails("{{range .Id}}{{end}}", r#":1:8: executing "" at <.Id>: range can't iterate over abc"#);
}

#[test]
fn no_text_makes_it_panic_or_overflow() {
    let words = [
        "{{", "}}", ".", "\"", "`", "(", ")", "|", "$", ":=", "if", "end", " ", "ä", "-", "1",
        "else", "/*",
    ];
    // Every sequence of three words: the parser must answer each with a result.
    for number in 0..words.len().pow(3) {
        let text: String =
            (0..3).map(|at| words[number / words.len().pow(at) % words.len()]).collect();
        let _ = filled(&text);
        let _ = filled(&format!("{{{{{text}}}}}"));
    }
    assert!(filled(&"{{if 1}}".repeat(10_000)).is_err());
    assert!(filled(&format!("{{{{{}", "(".repeat(10_000))).is_err());
}
