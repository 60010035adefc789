//! Whole objects: what `inspect`, `info` and `version` print.

use super::Template;
use crate::error::Result;
use crate::template::Context;
use serde::Serialize as _;
use serde_json::{Map, Value};

/// What `inspect` prints: an array without a format, else a line for each object.
pub fn objects(format: Option<&str>, objects: &[Value]) -> Result<String> {
    match format.map(|format| format.trim_matches(' ')) {
        None | Some("") => Ok(pretty(&Value::Array(objects.to_vec()))),
        Some("json") => Ok(format!("{}\n", Value::Array(objects.to_vec()))),
        Some(text) => {
            let template = Template::parse(text)?;
            objects.iter().map(|object| line(&template, object)).collect()
        }
    }
}

/// One object through a template, or as JSON in one line.
pub fn object(format: &str, object: &Value) -> Result<String> {
    match format.trim_matches(' ') {
        "json" => Ok(format!("{object}\n")),
        text => line(&Template::parse(text)?, object),
    }
}

fn line(template: &Template, object: &Value) -> Result<String> {
    let context = Context { dot: object, methods: &Map::new(), foreign: false };
    Ok(template.render(&context)? + "\n")
}

/// Docker indents by four.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // Writing a value to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    text.push(b'\n');
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_an_array_indented_by_four_or_what_the_template_makes_of_it() {
        let found = [json!({"State": {"Status": "exited", "ExitCode": 3}})];
        assert!(objects(None, &found).unwrap().starts_with("[\n    {\n        \"State\""));
        let format = Some("{{.State.Status}} {{.State.ExitCode}}");
        assert_eq!(objects(format, &found).unwrap(), "exited 3\n");
        assert_eq!(
            objects(Some("json"), &found).unwrap(),
            "[{\"State\":{\"Status\":\"exited\",\"ExitCode\":3}}]\n"
        );
    }
}
