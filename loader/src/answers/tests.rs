use super::*;

fn answers(release: &str) -> Answers {
    Answers {
        host: Host {
            release: release.to_owned(),
            build: Some("ab".repeat(20)),
        },
        relocations: vec![Ok(16), Err("no member x".to_owned()), Ok(u64::MAX)],
        functions: [("vfs_read".to_owned(), Ok(vec![8, 8, 8, 8]))].into(),
        tracepoints: [("gone".to_owned(), Err("no tracepoint gone".to_owned()))].into(),
        declared: [("bpf_x".to_owned(), false)].into(),
    }
}

fn file() -> File {
    let kernels = ["6.1.0", "6.12.0"].map(answers).to_vec();
    File::new("tool", "asked".to_owned(), kernels)
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let place = std::env::temp_dir().join(format!("wprobe-values-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("tool.values"), file().text()).unwrap();
    std::fs::write(place.join("notes.txt"), "something else").unwrap();
    assert_eq!(File::all(&place).unwrap(), [file()]);
    assert_eq!(File::all(&place.join("tool.values")).unwrap(), [file()]);
    let other = File::all(&place.join("notes.txt")).unwrap_err();
    assert!(other.to_string().contains("no file of values"), "{other}");
    let newer = file().text().replace("\"version\":1", "\"version\":2");
    std::fs::write(place.join("tool.values"), newer).unwrap();
    let newer = File::all(&place).unwrap_err();
    assert!(newer.to_string().contains("of version 2"), "{newer}");
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_kilobyte_is_enough() {
    let one = File::new("tool", "ab".repeat(32), vec![answers("6.1.0")]);
    assert!(one.text().len() < 500, "{}", one.text());
}

#[test]
fn what_is_not_there_is_said() {
    let files = [file()];
    let path = Path::new("v");
    let host = answers("6.12.0").host;
    let found = file::pick(&files, path, "tool", "asked", &host).unwrap();
    assert_eq!(found.host, host);
    let said = |questions: &str, host: &Host| {
        let refused = file::pick(&files, path, "tool", questions, host);
        refused.unwrap_err().to_string()
    };
    let elsewhere = answers("5.10.0").host;
    assert_eq!(
        said("asked", &elsewhere),
        "v: no values for this kernel, 5.10.0 (build abababab), but for: 6.1.0 (build abababab), 6.12.0 (build abababab)"
    );
    let rebuilt = Host {
        build: Some("cd".repeat(20)),
        ..host.clone()
    };
    assert!(said("asked", &rebuilt).contains("this kernel, 6.12.0 (build cdcdcdcd)"));
    assert!(
        said("something else", &host).contains("no values of tool as it is here, but of: tool")
    );
}

#[test]
fn a_module_carries_them() {
    let empty = b"\0asm\x01\0\0\0";
    assert_eq!(file::carried(empty).unwrap(), None);
    let once = embed(empty, &file()).unwrap();
    assert_eq!(file::carried(&once).unwrap(), Some(file()));
    wasmparser::validate(&once).unwrap();
    let other = File::new("other", "asked".to_owned(), Vec::new());
    let twice = embed(&once, &other).unwrap();
    assert_eq!(file::carried(&twice).unwrap(), Some(other.clone()));
    assert_eq!(twice, embed(empty, &other).unwrap());
    assert!(embed(b"\0asm\x01\0\0", &other).is_err());
}
