//! TGI or SGLang, whichever answers at `/generate`.
//!
//! The first event, or the whole body, or the head, that only one of them writes tells; what comes
//! before is read as both.

use http::HeaderMap;
use serde::Deserialize;

use super::{
    Event, Facts, Progress, Usage, Varying, WireFormat,
    json::{Raw, first, parse},
    sglang::SgLang,
    tgi::Tgi,
};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Generate {
    tgi: Tgi,
    sglang: SgLang,
    engine: Option<Engine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Tgi,
    SgLang,
}

/// What only one of them writes.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow)]
    meta_info: Raw<'a>,
    #[serde(borrow)]
    token: Raw<'a>,
    #[serde(borrow)]
    generated_text: Raw<'a>,
    #[serde(borrow)]
    details: Raw<'a>,
    #[serde(borrow)]
    error_type: Raw<'a>,
}

impl WireFormat for Generate {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        self.engine = self.engine.or_else(|| parse::<Marks<'_>>(event.data)?.engine());
        match self.engine {
            Some(Engine::Tgi) => self.tgi.event(event, content),
            Some(Engine::SgLang) => self.sglang.event(event, content),
            None => {
                // NB: TGI's content always tells, so that none is given twice.
                self.tgi.event(event, content);
                self.sglang.event(event, content);
                None
            }
        }
    }

    fn whole(&mut self, body: &[u8]) {
        let marks = || first::<Marks<'_>>(body)?.engine();
        self.engine = self.engine.or_else(marks);
        match self.engine {
            Some(Engine::Tgi) => self.tgi.whole(body),
            Some(Engine::SgLang) => self.sglang.whole(body),
            None => {
                self.tgi.whole(body);
                self.sglang.whole(body);
            }
        }
    }

    fn so_far(&self) -> Usage {
        match self.engine {
            Some(Engine::Tgi) => self.tgi.so_far(),
            Some(Engine::SgLang) | None => self.sglang.so_far(),
        }
    }

    fn facts(&self) -> Facts {
        match self.engine {
            Some(Engine::Tgi) => self.tgi.facts(),
            Some(Engine::SgLang) => self.sglang.facts(),
            None => {
                let (tgi, sglang) = (self.tgi.facts(), self.sglang.facts());
                let error = sglang.error.or(tgi.error);
                let error_details = sglang.error_details.or(tgi.error_details);
                Facts { error, error_details, done: tgi.done || sglang.done, ..sglang }
            }
        }
    }

    fn head(&mut self, headers: &HeaderMap) {
        self.engine = Tgi::wrote(headers).then_some(Engine::Tgi);
        self.tgi.head(headers);
        self.sglang.head(headers);
    }
}

// === impl Marks ===

impl Marks<'_> {
    fn engine(&self) -> Option<Engine> {
        let Self { meta_info, token, generated_text, details, error_type } = self;
        if meta_info.is_some() {
            return Some(Engine::SgLang);
        }
        let is_tgi = [token, generated_text, details, error_type].iter().any(|mark| mark.is_some());
        is_tgi.then_some(Engine::Tgi)
    }
}
