//! No live page.

use std::sync::Arc;

use axum::Router;

use super::files::File;
use crate::{exporter::page::Page, record::Readings};

#[derive(Debug, Default)]
pub(in crate::exporter) struct History(());

pub(super) static FILES: &[File] = &[];

pub(super) fn router() -> Router<Arc<Page>> {
    Router::new()
}

// === impl History ===

impl History {
    pub(in crate::exporter) fn add(&self, _: &Readings) {}
}
