//! Tests that created folders are on the disk, whichever operation fails and whenever the power is cut.

use super::super::ReadSeek;
use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// Folders of which a power cut leaves those that were synced, on a disk with one operation that fails.
#[derive(Debug)]
struct Folders {
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    folders: BTreeSet<PathBuf>,
    on_disk: BTreeSet<PathBuf>,
    /// The number of operations up to the one that fails; 0 and less after it.
    left: i64,
}

impl Folders {
    /// Creates a disk with the folder `/old`, whose operation number `failing` fails.
    fn new(failing: i64) -> Self {
        let folders: BTreeSet<PathBuf> = ["/", "/old"].map(PathBuf::from).into();
        Folders { state: Mutex::new(State { on_disk: folders.clone(), folders, left: failing }) }
    }

    fn operation(&self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.left -= 1;
        if state.left == 0 { Err(ErrorKind::Other.into()) } else { change(&mut state) }
    }

    /// Whether a folder and all above it are left after a power cut.
    fn survives_cut(&self, folder: &str) -> bool {
        let state = self.state.lock().unwrap();
        Path::new(folder).ancestors().all(|folder| state.on_disk.contains(folder))
    }
}

impl Disk for Folders {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.operation(|state| match state.folders.contains(path.parent().unwrap()) {
            true if state.folders.insert(path.to_owned()) => Ok(()),
            true => Err(ErrorKind::AlreadyExists.into()),
            false => Err(ErrorKind::NotFound.into()),
        })
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.state.lock().unwrap().folders.contains(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.operation(|state| {
            state.on_disk.extend(state.folders.iter().filter(|folder| folder.parent() == Some(path)).cloned());
            Ok(())
        })
    }

    fn write_new(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        unreachable!("no file is written")
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("nothing is renamed")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("nothing is removed")
    }

    fn open(&self, _: &Path) -> io::Result<Box<dyn ReadSeek>> {
        unreachable!("nothing is read")
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        unreachable!("nothing is listed")
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        unreachable!("no space is needed")
    }
}

#[test]
fn a_created_folder_and_those_above_it_survive_a_power_cut() {
    let disk = Folders::new(i64::MAX);
    create_missing(&disk, Path::new("/old/a/b/c")).unwrap();
    assert!(disk.survives_cut("/old/a/b/c"));
    create_missing(&disk, Path::new("/old/a/b/c")).unwrap();
    create_missing(&disk, Path::new("/old")).unwrap();
    create(&disk, Path::new("/old/a/001")).unwrap();
    assert!(disk.survives_cut("/old/a/001"));
    assert_eq!(create(&disk, Path::new("/old/a/001")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn whichever_operation_fails_is_an_error_and_a_second_attempt_creates_the_folder() {
    for failing in 1.. {
        let disk = Folders::new(failing);
        let created = create_missing(&disk, Path::new("/old/a/b"));
        let state = disk.state.lock().unwrap().clone();
        if state.left > 0 {
            created.unwrap();
            assert_eq!(failing, 6, "two folders are created and three are synced");
            break;
        }
        match created {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Other),
            Ok(()) => assert_eq!(failing, 1, "the sync of a folder that existed"),
        }
        let again = Folders { state: Mutex::new(State { left: i64::MAX, ..state }) };
        create_missing(&again, Path::new("/old/a/b")).unwrap();
        assert!(again.survives_cut("/old/a/b"), "operation {failing}");
    }
}

#[test]
fn folders_are_created_by_many_threads_at_once_and_a_file_is_in_the_way() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, new) = (parent.path().join("a/b/c"), parent.path().join("a/new"));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| create_folder(&folder).unwrap());
        }
    });
    assert!(folder.is_dir());
    assert!(create_new_folder(&new).unwrap() && !create_new_folder(&new).unwrap());
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(!create_new_folder(&file).unwrap());
    for path in [file.clone(), file.join("below/it")] {
        let error = create_folder(&path).unwrap_err().to_string();
        assert_eq!(error, format!("cannot create the folder {}", path.display()));
    }
}
