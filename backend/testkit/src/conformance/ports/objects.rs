//! Checks of the objects.

use crate::conformance::{StoresUnderTest, samples::job_id};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::io::{Error as IoError, ErrorKind};
use tidemill_services::Error;
use tidemill_services::ports::{ByteStream, ObjectInfo, Objects};

fn key() -> String {
    format!("check/{}", job_id())
}

fn sample(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

fn pieces(bytes: &[u8], length: usize) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn info(bytes: &[u8]) -> ObjectInfo {
    ObjectInfo {
        size: bytes.len() as u64,
        sha256: Some(data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))),
    }
}

async fn read(objects: &dyn Objects, key: &str) -> Vec<u8> {
    objects.get(key).await.unwrap().try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

async fn assert_absent(objects: &dyn Objects, key: &str) {
    assert_eq!(objects.info(key).await.unwrap(), None);
    assert!(matches!(objects.get(key).await.map(drop), Err(Error::NotFound(_))));
}

/// Objects of any size and number of pieces are readable, with size and hash.
pub async fn object_put_is_readable(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    for (length, piece) in [(0, 1), (1, 1), (100_000, 777), (3_000_000, 65_536), (1_048_576, 1_048_576)] {
        let (key, bytes) = (key(), sample(length));
        assert_absent(&*objects, &key).await;
        assert_eq!(objects.put(&key, pieces(&bytes, piece)).await.unwrap(), info(&bytes));
        assert_eq!(objects.info(&key).await.unwrap(), Some(info(&bytes)));
        assert!(read(&*objects, &key).await == bytes, "{length} bytes in pieces of {piece}");
    }
}

/// An interrupted put leaves the previous object unchanged.
pub async fn interrupted_put_stores_nothing(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    let broken = || {
        let error = stream::iter([Err(IoError::from(ErrorKind::ConnectionReset))]);
        pieces(&sample(2_000_000), 65_536).chain(error).boxed()
    };
    let key = key();
    assert!(objects.put(&key, broken()).await.is_err());
    assert_absent(&*objects, &key).await;
    objects.put(&key, pieces(b"before", 6)).await.unwrap();
    assert!(objects.put(&key, broken()).await.is_err());
    assert_eq!(read(&*objects, &key).await, b"before");
}

/// A put that is dropped stores nothing.
pub async fn dropped_put_stores_nothing(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    let key = key();
    let unending = pieces(&sample(600_000), 65_536).chain(stream::pending()).boxed();
    assert!(objects.put(&key, unending).now_or_never().is_none());
    assert_absent(&*objects, &key).await;
    objects.put(&key, pieces(b"after", 5)).await.unwrap();
    assert_eq!(read(&*objects, &key).await, b"after");
}

/// A read returns the newest object, with its size and hash.
pub async fn second_put_replaces_object(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    let key = key();
    for bytes in [sample(900_000), sample(10), Vec::new(), sample(70_000)] {
        objects.put(&key, pieces(&bytes, 4_096)).await.unwrap();
        assert_eq!(objects.info(&key).await.unwrap(), Some(info(&bytes)));
        assert!(read(&*objects, &key).await == bytes);
    }
}

/// A put with another SHA-256 than the declared one leaves the previous object unchanged, at any size.
pub async fn put_with_wrong_checksum_stores_nothing(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    for length in [1, 70_000, 9_000_000] {
        let (key, good, bad) = (key(), sample(length), sample(length + 1));
        let expected = info(&good).sha256.unwrap();
        let result = objects.put_checked(&key, Some(&expected), pieces(&bad, 65_536)).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
        assert_absent(&*objects, &key).await;
        let stored = objects.put_checked(&key, Some(&expected), pieces(&good, 65_536)).await.unwrap();
        assert_eq!(stored, info(&good));
        assert!(objects.put_checked(&key, Some(&expected), pieces(&bad, 65_536)).await.is_err());
        assert!(read(&*objects, &key).await == good, "{length} bytes");
    }
}

/// A delete removes only its object, and may be repeated.
pub async fn deleting_twice_is_no_error(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    let (one, other) = (key(), key());
    for key in [&one, &other] {
        objects.put(key, pieces(b"x", 1)).await.unwrap();
    }
    for _ in 0..2 {
        objects.delete(&one).await.unwrap();
        assert_absent(&*objects, &one).await;
    }
    assert_eq!(read(&*objects, &other).await, b"x");
    objects.put(&one, pieces(b"y", 1)).await.unwrap();
    assert_eq!(read(&*objects, &one).await, b"y");
}

/// A key may be a prefix of another one: keys are names, not directories.
pub async fn key_can_be_prefix_of_another(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    let short = key();
    let long = format!("{short}/more/of-it");
    objects.put(&short, pieces(b"short", 5)).await.unwrap();
    objects.put(&long, pieces(b"long", 4)).await.unwrap();
    assert_absent(&*objects, &format!("{short}/more")).await;
    assert_eq!(read(&*objects, &short).await, b"short");
    objects.delete(&short).await.unwrap();
    assert_eq!(read(&*objects, &long).await, b"long");
}

/// Each operation rejects invalid keys.
pub async fn bad_keys_are_rejected(subject: &StoresUnderTest) {
    let objects = subject.open().await.objects;
    for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a.b", "A", "a b", "ä", "a\0", "a\\b"] {
        assert!(matches!(objects.put(key, pieces(b"x", 1)).await, Err(Error::Invalid(_))), "{key:?}");
        assert!(matches!(objects.info(key).await, Err(Error::Invalid(_))), "{key:?}");
        assert!(matches!(objects.get(key).await.map(drop), Err(Error::Invalid(_))), "{key:?}");
        assert!(matches!(objects.delete(key).await, Err(Error::Invalid(_))), "{key:?}");
    }
}

/// Objects are readable through handles that were opened before and after the put.
pub async fn objects_survive_reopen(subject: &StoresUnderTest) {
    let (key, bytes) = (key(), sample(300_000));
    let before = subject.open().await.objects;
    let objects = subject.open().await.objects;
    objects.put(&key, pieces(&bytes, 4_096)).await.unwrap();
    drop(objects);
    for objects in [before, subject.open().await.objects] {
        assert_eq!(objects.info(&key).await.unwrap(), Some(info(&bytes)));
        assert!(read(&*objects, &key).await == bytes);
    }
}
