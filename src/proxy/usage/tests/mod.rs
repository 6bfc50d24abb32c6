//! What is asked for.

mod splicing;

use super::Hide;

const FINAL: Hide = Hide { event: true, members: false };
const RUNNING: Hide = Hide { event: true, members: true };
const MEMBERS: Hide = Hide { event: false, members: true };
