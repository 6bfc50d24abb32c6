//! The reverse proxy: stands in front of an inference service, passes everything through, and
//! measures what goes by.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the data path comes next"))]
mod usage;
