use super::*;

const LIST: List = List {
    columns: &[
        Column::new("ID", "CONTAINER ID"),
        Column::new("Names", "NAMES"),
        Column::new("Labels", "LABELS"),
        Column::new("Size", "SIZE"),
    ],
    table: &["ID", "Names"],
    quiet: "ID",
    filters: &["label", "name"],
};

fn args(format: &str) -> ListArgs {
    ListArgs { format: Some(format.to_owned()), ..ListArgs::default() }
}

fn rows() -> Vec<Row> {
    let labels = BTreeMap::from([
        ("com.example.tier-of".to_owned(), "a,b".to_owned()),
        ("x".to_owned(), "1".to_owned()),
    ]);
    vec![
        Row::new([("ID", "abc"), ("Names", "web"), ("Size", "0B")]).labels(&labels),
        Row::new([("ID", "def"), ("Names", "a-long-name"), ("Size", "5B")])
            .labels(&BTreeMap::new()),
    ]
}

fn text(args: &ListArgs) -> String {
    LIST.view(args).unwrap().render(&rows()).unwrap()
}

#[test]
fn without_a_format_it_is_the_table() {
    let table = "CONTAINER ID   NAMES\nabc            web\ndef            a-long-name\n";
    for format in ["", "table", " table "] {
        assert_eq!(text(&args(format)), table);
    }
}

#[test]
fn quiet_shows_the_id_unless_a_template_says_otherwise() {
    let quiet = |format: &str| ListArgs { quiet: true, ..args(format) };
    assert_eq!(text(&quiet("")), "abc\ndef\n");
    assert_eq!(text(&quiet("table")), "abc\ndef\n");
    assert_eq!(text(&quiet("table {{.Names}}")), "NAMES\nweb\na-long-name\n");
    assert_eq!(text(&quiet("{{.Names}}")), "web\na-long-name\n");
}

#[test]
fn json_has_every_field_sorted_and_nothing_else() {
    let first = text(&args("json")).lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        r#"{"ID":"abc","Labels":"com.example.tier-of=a,b,x=1","Names":"web","Size":"0B"}"#
    );
    assert_eq!(text(&args("{{json .}}")).lines().next().unwrap(), first);
    assert_eq!(text(&args("{{json .Names}}")), "\"web\"\n\"a-long-name\"\n");
}

#[test]
fn a_template_fills_lines_and_a_table_template_columns_under_heads() {
    assert_eq!(text(&args(r"{{.ID}}\t{{upper .Names}}")), "abc\tWEB\ndef\tA-LONG-NAME\n");
    assert_eq!(
        text(&args(r#"table {{.Names}}\t{{.Label "com.example.tier-of"}}\t{{.ID}}"#)),
        "NAMES         tier of   CONTAINER ID\nweb           a,b       abc\na-long-name             def\n"
    );
}

#[test]
fn one_label_is_had_by_its_key() {
    assert_eq!(text(&args(r#"{{.Label "x"}}|{{.Label "y"}}"#)), "1|\n|\n");
}

#[test]
fn a_field_that_is_not_there_is_refused_before_anything_is_listed() {
    let error = LIST.view(&args("{{.Nmaes}}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"template parsing error: template: :1:2: executing "" at <.Nmaes>: can't evaluate field Nmaes"#
    );
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("did you mean `.Names`? fields are"), "{hint}");
    assert!(hint.contains(".ID .Names .Labels .Size .Label"), "{hint}");
}

#[test]
fn what_is_dear_is_looked_up_only_where_it_is_shown() {
    let shows = |format: &str| LIST.view(&args(format)).unwrap().shows("Size");
    assert!(!shows("") && !shows("{{.ID}}"));
    assert!(shows("json") && shows("{{json .}}") && shows("{{if .ID}}{{.Size}}{{end}}"));
    assert!(shows("{{range $i, $x := split .ID \",\"}}{{$.Size}}{{end}}"));
    let wide = LIST.view_of(&ListArgs::default(), &["ID", "Size"]).unwrap();
    assert!(wide.shows("Size") && !wide.shows("Names"));
}

#[test]
fn text_of_others_cannot_move_the_cursor() {
    let rows = [Row::new([("ID", "a\x1b[2J\nb"), ("Names", "n"), ("Size", ""), ("Labels", "")])];
    for format in ["", "{{.ID}}", "table {{.ID}}"] {
        let text = LIST.view(&args(format)).unwrap().render(&rows).unwrap();
        assert!(text.contains(r"a\u{1b}[2J\nb"), "{format}: {text:?}");
    }
}
