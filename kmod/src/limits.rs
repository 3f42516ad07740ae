//! Limits: what a sandbox, and all sandboxes together, may have of each resource, and what they have.
//!
//! # Invariant
//!
//! What an account was charged, and was not given back, is given back when it is dropped: when the last sandbox is freed
//! all counts are 0. Requests charge at the same time, and together never more than there is.

use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::uapi::{self, Resource};
use helpers::host::Errno;
use helpers::space::MAX_MAPS;

use crate::engine::native::text::ROOM;
use crate::later;
use crate::services;
use crate::user::{Bytes, Call, Refusal};

/// An amount of each resource.
type Counts = [AtomicU64; Resource::ALL.len()];

/// What all sandboxes have.
static USED: Counts = [const { AtomicU64::new(0) }; Resource::ALL.len()];

fn of(counts: &Counts, resource: Resource) -> &AtomicU64 {
    &counts[resource as usize - 1]
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Sandbox,
    All,
}

fn limit(scope: Scope, resource: Resource) -> u64 {
    let limits = services::limits();
    let index = resource as usize - 1;
    match (scope, resource) {
        (Scope::Sandbox, Resource::Maps) => limits.each[index].min(MAX_MAPS as u64),
        (Scope::Sandbox, _) => limits.each[index],
        (Scope::All, Resource::Native) => limits.total[index].min(ROOM as u64),
        (Scope::All, _) => limits.total[index],
    }
}

/// What one sandbox has.
#[derive(Default)]
pub(crate) struct Account {
    used: Counts,
}

impl Account {
    fn room(&self, scope: Scope, resource: Resource) -> u64 {
        let used = match scope {
            Scope::Sandbox => of(&self.used, resource),
            Scope::All => of(&USED, resource),
        };
        // A limit may have been lowered since.
        limit(scope, resource).saturating_sub(used.load(Relaxed))
    }

    /// What it may still be charged.
    pub(crate) fn left(&self, resource: Resource) -> u64 {
        let [own, all] = [Scope::Sandbox, Scope::All].map(|scope| self.room(scope, resource));
        own.min(all)
    }

    /// Why it cannot be charged `asked`, which is more than there is left.
    pub(crate) fn exceeded(&self, resource: Resource, asked: u64) -> Exceeded {
        let scope = match self.room(Scope::Sandbox, resource) < asked {
            true => Scope::Sandbox,
            false => Scope::All,
        };
        Exceeded {
            scope,
            resource,
            asked,
            left: self.room(scope, resource),
            limit: limit(scope, resource),
        }
    }

    /// Charges `amount` until the charge is dropped. What is gone, but not yet freed, is waited for before it is refused: not to be
    /// called under the registry's lock.
    pub(crate) fn charge(&self, resource: Resource, amount: u64) -> Result<Charge<'_>, Exceeded> {
        if !self.take(resource, amount) {
            later::flush();
            if !self.take(resource, amount) {
                return Err(self.exceeded(resource, amount));
            }
        }
        Ok(Charge {
            account: self,
            resource,
            amount,
        })
    }

    /// Takes `amount`, if it is there.
    fn take(&self, resource: Resource, amount: u64) -> bool {
        let take = |counts: &Counts, scope| {
            let limit = limit(scope, resource);
            let taken = of(counts, resource).fetch_update(Relaxed, Relaxed, |used| {
                let fits = amount <= limit.saturating_sub(used);
                fits.then_some(used + amount)
            });
            taken.is_ok()
        };
        if !take(&self.used, Scope::Sandbox) {
            return false;
        }
        let taken = take(&USED, Scope::All);
        if !taken {
            of(&self.used, resource).fetch_sub(amount, Relaxed);
        }
        taken
    }

    /// Charges, for as long as the sandbox lives, what is there already and cannot be taken back.
    ///
    /// # Errors
    ///
    /// It is more than there may be.
    pub(crate) fn owe(&self, resource: Resource, amount: u64) -> Result<(), Exceeded> {
        let result = match amount > self.left(resource) {
            true => Err(self.exceeded(resource, amount)),
            false => Ok(()),
        };
        of(&self.used, resource).fetch_add(amount, Relaxed);
        of(&USED, resource).fetch_add(amount, Relaxed);
        result
    }

    /// Gives back what was charged and kept.
    pub(crate) fn give_back(&self, resource: Resource, amount: u64) {
        of(&self.used, resource).fetch_sub(amount, Relaxed);
        of(&USED, resource).fetch_sub(amount, Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        for (own, all) in self.used.iter().zip(&USED) {
            all.fetch_sub(own.load(Relaxed), Relaxed);
        }
    }
}

/// What an account was charged for something that is being made.
pub(crate) struct Charge<'a> {
    account: &'a Account,
    resource: Resource,
    amount: u64,
}

impl Charge<'_> {
    /// It was made, and stays until it is given back or its sandbox goes.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.account.give_back(self.resource, self.amount);
    }
}

/// More was asked for than there is left.
#[derive(Debug)]
pub(crate) struct Exceeded {
    scope: Scope,
    resource: Resource,
    asked: u64,
    left: u64,
    limit: u64,
}

impl Exceeded {
    /// What there is too little of.
    pub(crate) fn resource(&self) -> Resource {
        self.resource
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Scope::Sandbox => "max",
            Scope::All => "total",
        };
        write!(f, "limit {scope}_{}: ", self.resource.name())?;
        let [asked, left, limit] = [self.asked, self.left, self.limit].map(Bytes);
        match self.resource {
            Resource::Memory | Resource::Native | Resource::Host => {
                write!(f, "{asked} asked for, {left} left of {limit}")
            }
            _ => write!(f, "{} asked for, {} left of {}", asked.0, left.0, limit.0),
        }
    }
}

impl Refusal for Exceeded {
    fn errno(&self) -> Errno {
        match self.scope {
            Scope::Sandbox => Errno::E2BIG,
            Scope::All => Errno::ENOSPC,
        }
    }
}

/// `LIMIT`.
pub(crate) fn tell(call: &Call) -> Result<(), Errno> {
    let args: uapi::Limit = call.read()?;
    if args.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    let mut resources = Resource::ALL.iter();
    let resource = resources
        .find(|resource| **resource as u32 == args.resource)
        .ok_or(Errno::ENOENT)?;
    call.write(&uapi::Limit {
        each: limit(Scope::Sandbox, *resource),
        total: limit(Scope::All, *resource),
        used: of(&USED, *resource).load(Relaxed),
        ..args
    })
}
