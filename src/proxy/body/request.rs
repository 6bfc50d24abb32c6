//! The body of a request, as the upstream gets it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Upload, UploadError};

/// What was read of a body already, and then the rest as it comes.
#[derive(Debug, Default)]
pub(in crate::proxy) struct RequestBody {
    read: VecDeque<Bytes>,
    trailers: Option<Box<HeaderMap>>,
    rest: Option<Upload>,
}

// === impl RequestBody ===

impl RequestBody {
    /// Nothing is read ahead.
    pub(in crate::proxy) fn streamed(rest: Upload) -> Self {
        Self { rest: Some(rest), ..Self::default() }
    }

    /// Reads ahead, as long as it is no longer than `limit`: then it is whole.
    pub(in crate::proxy) async fn read_ahead(&mut self, limit: u64) -> Result<(), UploadError> {
        let Self { read, trailers, rest } = self;
        let Some(upload) = rest.as_mut().filter(|upload| upload.size_hint().lower() <= limit)
        else {
            return Ok(());
        };
        let mut length = 0;
        while length <= limit {
            let Some(frame) = upload.frame().await else {
                *rest = None;
                break;
            };
            match frame?.into_data() {
                Ok(data) => {
                    length += data.len() as u64;
                    read.push_back(data);
                }
                Err(frame) => *trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
        Ok(())
    }

    /// Why it is refused as it is, before anything of it is read.
    pub(in crate::proxy) fn is_too_large(&self) -> Option<UploadError> {
        self.rest.as_ref()?.is_too_large()
    }

    /// Its bytes in one piece, if all of them are there.
    pub(in crate::proxy) fn whole(&mut self) -> Option<&Bytes> {
        if self.rest.is_some() {
            return None;
        }
        if self.read.len() > 1 {
            let mut whole = BytesMut::with_capacity(self.length());
            self.read.drain(..).for_each(|piece| whole.extend_from_slice(&piece));
            self.read.push_back(whole.freeze());
        }
        self.read.front()
    }

    /// Sends these pieces in place of the bytes that were read.
    pub(in crate::proxy) fn replace(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        self.read = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    }

    /// How long it is, if it is whole.
    pub(in crate::proxy) fn whole_length(&self) -> Option<u64> {
        self.rest.is_none().then(|| self.length() as u64)
    }

    fn length(&self) -> usize {
        self.read.iter().map(Bytes::len).sum()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Self { read, trailers, rest } = &mut *self;
        if let Some(piece) = read.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(*trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let Self { read, trailers, rest } = self;
        read.is_empty() && trailers.is_none() && rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.length() as u64;
        let Some(rest) = &self.rest else {
            // NB: with trailers to come it has no length: they need a chunked body.
            return match self.trailers {
                Some(_) => SizeHint::new(),
                None => SizeHint::with_exact(read),
            };
        };
        let rest = rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + read);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + read);
        }
        hint
    }
}
