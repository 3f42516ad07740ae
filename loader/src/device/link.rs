//! A link: one program attached at one place, active until it is gone.

use std::os::fd::OwnedFd;

use abi::uapi::{self, LinkInfo};

use super::Result;
use super::ioctl::{call, zeroed};

/// A link.
#[derive(Debug)]
pub struct Link(pub(super) OwnedFd);

impl Link {
    /// What the device says about it.
    pub fn info(&self) -> Result<LinkInfo> {
        let mut info: LinkInfo = zeroed();
        call(&self.0, "LINK_INFO", uapi::LINK_INFO, &mut info, "link")?;
        Ok(info)
    }
}
