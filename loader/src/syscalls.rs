//! Hand-written modules: exports `kprobe:SYMBOL:pre` and `kprobe:SYMBOL:post` on syscall entries.
//!
//! How a parameter is handed over follows from its C type as the kernel itself states it
//! (`events/syscalls/sys_enter_NAME/format` in tracefs): `const char *` is copied as a string, anything
//! else is passed by value, output buffers included.

use std::fmt;
use std::io;

use abi::uapi::{AttachPoint, LINK_ARGS, SYSCALL_ARGS, SyscallArg};

use crate::attach::kernel::{event_format, is_dynamic};
use crate::device::LinkSpec;

/// Why an export cannot be attached.
#[derive(Debug)]
pub enum Error {
    /// The symbol is no syscall entry.
    Symbol(String),
    /// The kernel does not describe the syscall's parameters.
    Format(String, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Symbol(symbol) => {
                write!(f, "{symbol} is no syscall entry (such as __x64_sys_mkdir)")
            }
            Error::Format(name, e) => write!(
                f,
                "no description of syscall {name} in tracefs: {e} (is there such a syscall, is /sys/kernel/tracing mounted?)"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The attachment that `export` asks for; `None` if it asks for none.
pub fn link(export: &str) -> Option<Result<LinkSpec, Error>> {
    let (symbol, point) = export.strip_prefix("kprobe:")?.rsplit_once(':')?;
    let attach = match point {
        "pre" => AttachPoint::SyscallPre,
        "post" => AttachPoint::SyscallPost,
        _ => return None,
    };
    Some(parameters(symbol).map(|(target, args)| LinkSpec {
        args,
        ..LinkSpec::new(export, &target, attach)
    }))
}

/// The kernel's symbol and its parameters. `__x86_sys_*` is an old spelling of `__x64_sys_*`.
fn parameters(symbol: &str) -> Result<(String, [u8; LINK_ARGS]), Error> {
    let name = ["__x64_sys_", "__x86_sys_"]
        .iter()
        .find_map(|p| symbol.strip_prefix(p));
    let name = name.ok_or_else(|| Error::Symbol(symbol.to_owned()))?;
    let format = event_format(&format!("syscalls/sys_enter_{name}"));
    let format = format.map_err(|e| Error::Format(name.to_owned(), e))?;
    Ok((format!("__x64_sys_{name}"), arguments(&format)))
}

/// `ARG_*` of each parameter that a `format` file lists behind the syscall's number.
fn arguments(format: &str) -> [u8; LINK_ARGS] {
    let fields = format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:"))
        .filter(|field| !is_dynamic(field));
    let declarations = fields.filter_map(|field| field.split(';').next());
    let parameters = declarations
        .skip_while(|d| !d.ends_with("__syscall_nr"))
        .skip(1);
    let mut args = [SyscallArg::None as u8; LINK_ARGS];
    for (arg, declaration) in args[..SYSCALL_ARGS].iter_mut().zip(parameters) {
        let string =
            declaration.starts_with("const char *") && declaration.matches('*').count() == 1;
        *arg = if string {
            SyscallArg::String
        } else {
            SyscallArg::Scalar
        } as u8;
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAT: &str = "name: sys_enter_openat
ID: 628
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;

print fmt: \"dfd: 0x%08lx\"";

    #[test]
    fn strings_are_told_from_other_parameters() {
        assert_eq!(arguments(OPENAT)[..5], [1, 2, 1, 1, 0]);
        let texts =
            "\tfield:__data_loc char[] __filename_val;\toffset:48;\tsize:4;\tsigned:0;\n\nprint";
        let newer = OPENAT.replace("\nprint", texts);
        assert_eq!(arguments(&newer)[..5], [1, 2, 1, 1, 0]);
        let exec = OPENAT.replace("umode_t mode", "const char *const * argv");
        assert_eq!(arguments(&exec)[..5], [1, 2, 1, 1, 0]);
        assert_eq!(arguments(""), [0; LINK_ARGS]);
    }

    #[test]
    fn only_syscall_entries_are_accepted() {
        assert!(link("report").is_none());
        assert!(link("kprobe:__x64_sys_mkdir:hit").is_none());
        let refused = link("kprobe:vfs_read:pre").unwrap().unwrap_err();
        assert!(refused.to_string().contains("no syscall entry"));
        let refused = link("kprobe:__x64_sys_nosuch:pre").unwrap().unwrap_err();
        assert!(refused.to_string().contains("nosuch"));
    }
}
