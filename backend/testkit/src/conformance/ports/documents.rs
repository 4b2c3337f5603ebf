//! Checks of the documents.

use crate::conformance::{StoresUnderTest, samples::job_id};
use futures_util::future::join_all;
use tidemill_core::time::Timestamp;
use tidemill_services::ports::{Clock, Document, DocumentKey, Documents, NewDocument};

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(format!("check-{}", job_id()), name)
}

fn sibling(key: &DocumentKey, name: &str) -> DocumentKey {
    DocumentKey::new(key.kind.clone(), name)
}

fn new(key: &DocumentKey, value: &str) -> NewDocument {
    NewDocument { key: key.clone(), value: value.to_owned(), due_at: None, expires_at: None }
}

async fn create(documents: &dyn Documents, key: &DocumentKey, value: &str) -> Document {
    assert!(documents.put(new(key, value), None).await.unwrap(), "{key:?} is new");
    documents.get(key).await.unwrap().unwrap()
}

fn names(found: &[Document]) -> Vec<&str> {
    found.iter().map(|one| one.key.name.as_str()).collect()
}

/// A document is readable by another process, also at the maximum size.
pub async fn document_put_is_readable(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let (key, large) = (key("a b/c#ü"), "ü".repeat(tidemill_services::ports::MAX_DOCUMENT_SIZE / 2));
    assert_eq!(documents.get(&key).await.unwrap(), None);
    let first = create(&*documents, &key, &large).await;
    assert!((&first.key, first.due_at) == (&key, None) && first.value == large);
    let again = subject.open().await.documents.get(&key).await.unwrap().unwrap();
    assert!(again == first);
}

/// A put fails with a version that is not the document's, or without one if the document exists.
pub async fn document_put_requires_read_version(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let key = key("one");
    assert!(!documents.put(new(&key, "no"), Some(1)).await.unwrap(), "there is no document to replace");
    let first = create(&*documents, &key, "first").await;
    assert!(!documents.put(new(&key, "no"), None).await.unwrap(), "the document exists");
    assert!(documents.put(new(&key, "second"), Some(first.version)).await.unwrap());
    assert!(!documents.put(new(&key, "no"), Some(first.version)).await.unwrap(), "the version is old");
    let second = documents.get(&key).await.unwrap().unwrap();
    assert_eq!(second.value, "second");
    assert_ne!(second.version, first.version);
}

/// A document that is created again after its deletion has another version.
pub async fn document_delete_requires_read_version(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let key = key("one");
    assert!(!documents.delete(&key, None).await.unwrap(), "there is no document");
    let first = create(&*documents, &key, "first").await;
    assert!(!documents.delete(&key, Some(first.version + 1)).await.unwrap());
    assert!(documents.delete(&key, Some(first.version)).await.unwrap());
    assert_eq!(documents.get(&key).await.unwrap(), None);
    create(&*documents, &key, "again").await;
    assert!(!documents.put(new(&key, "no"), Some(first.version)).await.unwrap());
    assert!(documents.delete(&key, None).await.unwrap());
}

/// One of several concurrent puts over the same version succeeds.
pub async fn concurrent_puts_have_one_winner(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let key = key("one");
    let race = |if_version| {
        let documents = documents.clone();
        let key = key.clone();
        async move {
            let puts = (0..8).map(|number| documents.put(new(&key, &number.to_string()), if_version));
            let won = join_all(puts).await.into_iter().filter(|put| *put.as_ref().unwrap()).count();
            assert_eq!(won, 1);
        }
    };
    race(None).await;
    let first = documents.get(&key).await.unwrap().unwrap();
    race(Some(first.version)).await;
}

/// Documents of one kind are listed in byte order, in pages, by prefix.
pub async fn documents_are_listed_by_name(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let one = key("b/1");
    for name in ["b/1", "a", "b/2", "c", "b/10", "b", "b/\u{d7ff}x", "bz", "B"] {
        create(&*documents, &sibling(&one, name), name).await;
    }
    create(&*documents, &key("b/3"), "of another kind").await;
    let (all, more) = documents.list(&one.kind, "", None, 100).await.unwrap();
    assert_eq!(names(&all), ["B", "a", "b", "b/1", "b/10", "b/2", "b/\u{d7ff}x", "bz", "c"]);
    assert!(!more);
    let mut names_read = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let (page, more) = documents.list(&one.kind, "b/", after.as_deref(), 2).await.unwrap();
        names_read.extend(names(&page).into_iter().map(str::to_owned));
        after = names_read.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(names_read, ["b/1", "b/10", "b/2", "b/\u{d7ff}x"]);
    let (none, more) = documents.list(&one.kind, "d", None, 10).await.unwrap();
    assert!(none.is_empty() && !more);
}

/// Due documents are listed in the order of their due time, without postponed and deleted ones.
pub async fn due_documents_are_listed_by_due_time(subject: &StoresUnderTest) {
    let documents = subject.open().await.documents;
    let now = subject.clock.now();
    let one = key("one");
    let due =
        |name: &str, at: Option<Timestamp>| NewDocument { due_at: at, ..new(&sibling(&one, name), name) };
    for (name, at) in
        [("late", now.plus_ms(-5)), ("later", now.plus_ms(-1)), ("now", now), ("soon", now.plus_ms(1))]
    {
        assert!(documents.put(due(name, Some(at)), None).await.unwrap());
    }
    assert!(documents.put(due("never", None), None).await.unwrap());
    assert_eq!(names(&documents.due(&one.kind, now, 10).await.unwrap()), ["late", "later", "now"]);
    assert_eq!(names(&documents.due(&one.kind, now, 2).await.unwrap()), ["late", "later"]);
    let late = documents.get(&sibling(&one, "late")).await.unwrap().unwrap();
    assert_eq!(late.due_at, Some(now.plus_ms(-5)));
    assert!(documents.put(due("late", None), Some(late.version)).await.unwrap());
    assert!(documents.delete(&sibling(&one, "now"), None).await.unwrap());
    assert_eq!(names(&documents.due(&one.kind, now, 10).await.unwrap()), ["later"]);
}
