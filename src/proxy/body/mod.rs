//! The bodies on both ways.

mod client;
mod relay;
mod request;
mod upload;

pub(super) use self::{
    client::{ClientBody, SizedBody},
    relay::{Answer, Deadlines},
    request::RequestBody,
    upload::{Progress, Upload, UploadError},
};
