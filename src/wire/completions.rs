//! `/completions`: OpenAI's, but llama.cpp without a version in its path speaks its own
//! `/completion` there. The first event, or the whole body, tells.

use serde::Deserialize;

use super::{
    Event, Facts, Progress, Usage, Varying, WireFormat,
    json::{Raw, first, parse},
    llamacpp::LlamaCpp,
    openai::OpenAi,
};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Completions {
    openai: OpenAi,
    /// Where it is llama.cpp's own.
    llamacpp: Option<LlamaCpp>,
    is_known: bool,
}

/// What only one of them writes.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow)]
    choices: Raw<'a>,
    #[serde(borrow)]
    content: Raw<'a>,
    #[serde(borrow)]
    tokens_predicted: Raw<'a>,
}

impl WireFormat for Completions {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        if !self.is_known {
            self.know(parse(event.data));
        }
        match &mut self.llamacpp {
            Some(llamacpp) => llamacpp.event(event, content),
            None => self.openai.event(event, content),
        }
    }

    fn again(&mut self, choice: usize, events: u64) {
        // NB: events of llama.cpp's own never come again: each has its count.
        self.openai.again(choice, events);
    }

    fn whole(&mut self, body: &[u8]) {
        self.know(first(body));
        match &mut self.llamacpp {
            Some(llamacpp) => llamacpp.whole(body),
            None => self.openai.whole(body),
        }
    }

    fn so_far(&self) -> Usage {
        self.as_known().so_far()
    }

    fn facts(&self) -> Facts {
        let facts = self.as_known().facts();
        // NB: an error may come before it is known.
        if facts.error.is_some() {
            return facts;
        }
        let Facts { error, error_details, .. } = self.openai.facts();
        Facts { error, error_details, ..facts }
    }
}

// === impl Completions ===

impl Completions {
    fn know(&mut self, marks: Option<Marks<'_>>) {
        let Some(Marks { choices, content, tokens_predicted }) = marks else { return };
        // NB: before its end, an older build tells no count.
        let is_native = content.is_some() || tokens_predicted.is_some();
        self.is_known = choices.is_some() || is_native;
        if choices.is_none() && is_native {
            self.llamacpp = Some(LlamaCpp::default());
        }
    }

    fn as_known(&self) -> &dyn WireFormat {
        match &self.llamacpp {
            Some(llamacpp) => llamacpp,
            None => &self.openai,
        }
    }
}
