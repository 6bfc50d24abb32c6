//! embeddings, rerank, score, classify, pooling.

use super::{Event, Facts, Progress, Usage, Varying, WireFormat, counts::Counts};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct PromptOnly {
    counts: Counts,
}

impl WireFormat for PromptOnly {
    fn event<'a>(
        &mut self,
        _event: Event<'a>,
        _content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        None
    }

    fn whole(&mut self, _body: &[u8]) {}

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        self.counts.facts()
    }
}
