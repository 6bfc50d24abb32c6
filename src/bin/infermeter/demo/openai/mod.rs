//! OpenAI's chat completions and completions, as far as clients use them.

mod chunks;
mod error;
mod request;

pub(crate) use self::{
    chunks::{Chunks, DONE, Finish, Heading, Shape, Text, Usage, whole},
    error::Error,
    request::Request,
};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// A name that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// What the engine calls it, where it is an adapter.
    pub(crate) adapter: Option<&'static str>,
}

/// The base model, which answers unless another is asked for, and two adapters of it.
pub(crate) const MODELS: [Model; 3] = [
    Model { name: "demo-40b", adapter: None },
    Model { name: "demo-40b-sql", adapter: Some("demo-40b-sql") },
    Model { name: "demo-40b-chat", adapter: Some("demo-40b-chat") },
];

/// How many tokens a prompt and its answer can have together.
pub(crate) const CONTEXT: usize = 1024;

/// How many answers can be asked for at once.
pub(crate) const MOST_CHOICES: usize = 8;
