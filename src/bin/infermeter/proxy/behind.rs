//! What the proxy stands in front of.

use std::{error::Error, fmt};

use infermeter::proxy::{Proxy, ProxyBuilder, ProxyError};

use crate::{arguments, config::Config};

#[derive(Debug)]
pub(super) enum Behind {
    One(String),
    File(Config),
}

// === impl Behind ===

impl Behind {
    pub(super) fn read(settings: &arguments::Proxy) -> Result<Self, Box<dyn Error>> {
        match (&settings.upstream, &settings.config) {
            (_, Some(path)) => Ok(Self::File(Config::read(path)?)),
            (Some(url), None) => Ok(Self::One(url.clone())),
            // NB: the arguments were not taken then.
            (None, None) => Err("--upstream URL or --config FILE is required".into()),
        }
    }

    pub(super) fn proxy(&self) -> Result<ProxyBuilder, ProxyError> {
        match self {
            Self::One(url) => Ok(Proxy::builder(url)),
            Self::File(Config { upstreams }) => {
                let upstreams = upstreams.iter().map(|upstream| upstream.build());
                Ok(Proxy::routing(upstreams.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(url) => write!(f, "upstream {url}"),
            Self::File(Config { upstreams }) => {
                f.write_str("upstreams")?;
                upstreams.iter().try_for_each(|one| write!(f, " {}={}", one.name, one.url))
            }
        }
    }
}
