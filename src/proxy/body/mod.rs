//! The bodies on both ways.

mod relay;
mod request;
mod upload;

pub(super) use self::{
    relay::{Answer, Deadlines},
    request::RequestBody,
    upload::{Progress, Upload, UploadError},
};
