//! Typed values of D-Bus, as far as properties of systemd's units have them.
//!
//! Pure: planning makes them, `message` puts them on the wire. The text form is that of GVariant, which is also how
//! annotations give them.

use std::borrow::Cow;
use std::fmt;

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `o`
    ObjectPath(String),
    /// `a`: the signature of the elements, and the elements, all of that type.
    Array(Cow<'static, str>, Vec<Value>),
    /// `(...)`
    Struct(Vec<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// The type, in D-Bus's letters.
    #[must_use]
    pub fn signature(&self) -> Cow<'static, str> {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Bool(_) => "b".into(),
            Value::Int16(_) => "n".into(),
            Value::Uint16(_) => "q".into(),
            Value::Int32(_) => "i".into(),
            Value::Uint32(_) => "u".into(),
            Value::Int64(_) => "x".into(),
            Value::Uint64(_) => "t".into(),
            Value::Double(_) => "d".into(),
            Value::Text(_) => "s".into(),
            Value::ObjectPath(_) => "o".into(),
            Value::Array(element, _) => format!("a{element}").into(),
            Value::Struct(fields) => {
                let fields: String = fields.iter().map(Value::signature).collect();
                format!("({fields})").into()
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, values: &[Value]| {
            values.iter().enumerate().try_for_each(|(index, value)| {
                write!(f, "{}{value}", if index == 0 { "" } else { ", " })
            })
        };
        match self {
            Value::Byte(value) => write!(f, "{value}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int16(value) => write!(f, "{value}"),
            Value::Uint16(value) => write!(f, "{value}"),
            Value::Int32(value) => write!(f, "{value}"),
            Value::Uint32(value) => write!(f, "{value}"),
            Value::Int64(value) => write!(f, "{value}"),
            Value::Uint64(u64::MAX) => write!(f, "infinity"),
            Value::Uint64(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value}"),
            Value::Text(text) | Value::ObjectPath(text) => write!(f, "{text:?}"),
            Value::Array(_, values) => {
                write!(f, "[")?;
                list(f, values)?;
                write!(f, "]")
            }
            Value::Struct(values) => {
                write!(f, "(")?;
                list(f, values)?;
                write!(f, ")")
            }
        }
    }
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name on D-Bus, which for times is not that of unit files: `TimeoutStopUSec`.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl Property {
    /// One of a name and a value.
    pub fn new(name: impl Into<Cow<'static, str>>, value: Value) -> Property {
        Property { name: name.into(), value }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}
