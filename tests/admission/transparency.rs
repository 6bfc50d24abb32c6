//! What was let in passes as it is.

use std::{
    convert::Infallible,
    io::Cursor,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use infermeter::{AdmissionLayer, Meter};
use tower::{Layer, ServiceExt, service_fn};

use super::{
    support::frames::{Script, Step, poll},
    work::now,
};

/// An error that is told from one that says the same.
type Fault = Arc<str>;

#[test]
fn frames_hints_and_errors_are_those_of_the_body_inside() {
    let fault: Fault = "broken".into();
    let word = || Step::Frame(Frame::data(Bytes::from_static(b"word")));
    let trailers = || {
        let trailers = [("x-same", "1"), ("x-same", "2")];
        let pair = |(name, value): (&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        Step::Frame(Frame::trailers(trailers.map(pair).into_iter().collect::<HeaderMap>()))
    };
    let fails = || Step::Error(Arc::clone(&fault));
    let scripts: [&dyn Fn() -> Vec<Step<Bytes, Fault>>; 6] = [
        &Vec::new,
        &|| vec![word(), Step::Pending, word()],
        &|| vec![word(), trailers()],
        &|| vec![word(), fails()],
        // Against the rules, and passed on all the same.
        &|| vec![fails(), word(), trailers(), word()],
        &|| vec![Step::Frame(Frame::data(Bytes::new())), word(), Step::Hang],
    ];
    for steps in scripts {
        for (sized, announces_end) in [(false, false), (true, false), (false, true), (true, true)] {
            let script = || {
                let mut script = Script::new(steps());
                if sized {
                    script = script.sized();
                }
                if announces_end {
                    script = script.announcing_end();
                }
                script
            };
            let (mut bare, mut admitted) = (pin!(script()), pin!(through(script())));
            for _ in 0..8 {
                assert_eq!(hints(&*admitted), hints(&*bare));
                match (poll(admitted.as_mut()), poll(bare.as_mut())) {
                    (Poll::Ready(Some(Err(got))), Poll::Ready(Some(Err(sent)))) => {
                        assert!(Arc::ptr_eq(&got, &sent));
                    }
                    (Poll::Ready(Some(Ok(got))), Poll::Ready(Some(Ok(sent)))) => {
                        assert_eq!(got.trailers_ref(), sent.trailers_ref());
                        assert_eq!(got.into_data().ok(), sent.into_data().ok());
                    }
                    (got, sent) => assert_eq!(format!("{got:?}"), format!("{sent:?}")),
                }
            }
        }
    }
}

#[test]
fn heads_errors_and_requests_are_those_of_the_service_and_the_client() {
    #[derive(Clone, Debug, PartialEq)]
    struct Note(&'static str);

    let seen = Mutex::new(None);
    let service = service_fn(|request: Request<&'static str>| {
        *seen.lock().unwrap() = Some(request);
        let response = Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .version(Version::HTTP_2)
            .header("x-same", "1")
            .header("x-same", "2")
            .extension(Note("made"));
        async { Ok::<_, Infallible>(response.body(Script::<Bytes, Fault>::new([])).unwrap()) }
    });
    let service = AdmissionLayer::new(&Meter::new(), 1).layer(service);
    let request = Request::put("http://a/b?c").header("x-a", "b").extension(Note("sent"));
    let request = request.body("the body").unwrap();
    let head = now(&mut Box::pin(service.oneshot(request))).unwrap().into_parts().0;
    assert_eq!((head.status, head.version), (StatusCode::IM_A_TEAPOT, Version::HTTP_2));
    assert_eq!(head.headers.get_all("x-same").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(head.headers.len(), 2);
    assert_eq!((head.extensions.get(), head.extensions.len()), (Some(&Note("made")), 1));

    let (got, body) = seen.lock().unwrap().take().unwrap().into_parts();
    assert_eq!((got.method.as_str(), got.uri.to_string()), ("PUT", "http://a/b?c".to_owned()));
    assert_eq!(
        (got.headers.len(), &got.headers["x-a"], body),
        (1, &"b".parse().unwrap(), "the body")
    );
    assert_eq!((got.extensions.get(), got.extensions.len()), (Some(&Note("sent")), 1));

    let fault: Fault = "no".into();
    let service = service_fn(|_: Request<()>| {
        let fault = Arc::clone(&fault);
        async { Err::<Response<Script<Bytes, Infallible>>, _>(fault) }
    });
    let service = AdmissionLayer::new(&Meter::new(), 1).layer(service);
    let error = now(&mut Box::pin(service.oneshot(Request::new(())))).unwrap_err();
    assert!(Arc::ptr_eq(&error, &fault));
}

/// Any data will do that a refusal can be made into.
#[test]
fn data_of_ones_own() {
    struct Mine(Cursor<Bytes>);

    impl From<Bytes> for Mine {
        fn from(bytes: Bytes) -> Self {
            Self(Cursor::new(bytes))
        }
    }

    impl Buf for Mine {
        fn remaining(&self) -> usize {
            self.0.remaining()
        }

        fn chunk(&self) -> &[u8] {
            self.0.chunk()
        }

        fn advance(&mut self, cnt: usize) {
            self.0.advance(cnt);
        }
    }

    let service = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Script::<Mine, Infallible>::new([])))
    });
    let service = AdmissionLayer::new(&Meter::new(), 0).layer(service);
    let response = now(&mut Box::pin(service.oneshot(Request::new(())))).unwrap();
    let expected = response.body().size_hint().exact().unwrap();
    assert!(!response.body().is_end_stream());
    let mut body = pin!(response.into_body());
    let Poll::Ready(Some(Ok(frame))) = poll(body.as_mut()) else { panic!("no frame") };
    let mut data = frame.into_data().ok().unwrap();
    assert_eq!(data.remaining() as u64, expected);
    let text = data.copy_to_bytes(data.remaining());
    assert!(text.starts_with(b"{\"error\":{\"message\":"), "{text:?}");
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll(body.as_mut()), Poll::Ready(None)));
}

/// A body that was let in.
fn through(script: Script<Bytes, Fault>) -> impl Body<Data = Bytes, Error = Fault> {
    let script = Mutex::new(Some(script));
    let service = service_fn(|_: Request<()>| {
        let script = script.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(script)) }
    });
    let service = AdmissionLayer::new(&Meter::new(), 1).layer(service);
    now(&mut Box::pin(service.oneshot(Request::new(())))).unwrap().into_body()
}

fn hints(body: &impl Body) -> (u64, Option<u64>, bool) {
    let hint: SizeHint = body.size_hint();
    (hint.lower(), hint.upper(), body.is_end_stream())
}
