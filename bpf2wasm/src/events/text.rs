//! What a line of source fills.

/// The member that the line assigns to (`event->pid = pid;`, `.pid = pid,`), or that a call in it fills, which is its first argument
/// (`bpf_get_current_comm(&event.comm, sizeof(event.comm));`).
pub(super) fn member(line: &str) -> Option<&str> {
    let (left, right) = assignment(line).unwrap_or(("", line));
    let filled = || {
        let (_, arguments) = right.split_once('(')?;
        last_member(arguments.split(',').next()?)
    };
    last_member(left).or_else(filled)
}

/// Both sides of an assignment.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let bytes = line.as_bytes();
    let is_it = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        bytes[*at] == b'='
            && bytes.get(at + 1) != Some(&b'=')
            && !before.is_some_and(|c| b"=!<>+-*/%&|^".contains(c))
    };
    let at = (0..bytes.len()).find(is_it)?;
    Some((&line[..at], &line[at + 1..]))
}

/// `fname` of `&event->data.fname[0]`; nothing of a name that is no member.
fn last_member(path: &str) -> Option<&str> {
    let path = path.trim();
    let path = path.split('[').next()?.trim_end();
    let start = path
        .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map(|at| at + 1)?;
    let (before, name) = path.split_at(start);
    let is_member = before.ends_with('.') || before.ends_with("->");
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (is_member && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::member;

    #[test]
    fn members_are_those_that_are_filled() {
        for (line, expected) in [
            ("event.pid = bpf_get_current_pid_tgid() >> 32;", Some("pid")),
            ("\tevent->callers[1] = stack[2];", Some("callers")),
            (".ret = ctx->ret,", Some("ret")),
            (
                "bpf_get_current_comm(&event->comm, sizeof(event->comm));",
                Some("comm"),
            ),
            (
                "BPF_CORE_READ_INTO(&e.dport, sk, skc_dport);",
                Some("dport"),
            ),
            (
                "bpf_probe_read_user_str(data.str, sizeof(data.str), ret);",
                Some("str"),
            ),
            (
                "size = bpf_probe_read_user_str(event->args, ARGSIZE, path);",
                Some("args"),
            ),
            ("if (event->ret == 0)", None),
            ("struct event event = {};", None),
            ("pid = bpf_get_current_pid_tgid() >> 32;", None),
            ("submit_buf(ctx, event, sizeof(*event));", None),
            ("", None),
        ] {
            assert_eq!(member(line), expected, "{line}");
        }
    }
}
