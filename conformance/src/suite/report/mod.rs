//! Reports of a run, for people and for programs.

mod html;
mod json;
mod junit;
mod tap;
mod text;

pub use html::html;
pub use json::json;
pub use junit::junit;
pub use tap::tap;
pub use text::text;

#[cfg(test)]
mod example;
