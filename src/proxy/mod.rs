//! The reverse proxy: stands in front of an inference service, passes everything through, and
//! measures what goes by.
