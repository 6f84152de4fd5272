use ftpfs::*;
use std::sync::Arc;
use std::time::Duration;
fn main() {
    env_logger::Builder::new().filter_level(log::LevelFilter::Debug).init();
    let port: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mode = if std::env::args().nth(2).as_deref() == Some("active") {
        ftp::config::Mode::Active
    } else {
        ftp::config::Mode::Auto
    };
    let c = ftp::config::SessionConfig {
        host: "127.0.0.1".into(),
        port,
        family: Default::default(),
        bind: None,
        login: ftp::config::Login { user: b"ftpuser".to_vec(), password: b"secret".to_vec(), account: None },
        data: ftp::config::DataConfig { mode, ..Default::default() },
        timeouts: Default::default(),
    };
    let d = || deadline::Deadline::after(Duration::from_secs(60));
    let r = Arc::new(remote::Remote::connect(c, b"", false, 8, d()).unwrap());
    let t = r.base().resolve(b"t").unwrap();
    for e in r.list(&t, d()).unwrap().entries {
        println!("{e:?}");
    }
    println!("{:?}", r.stat(&t.resolve(b"nope").unwrap(), d()));
    println!("{:?}", r.list(&t.resolve(b"nope").unwrap(), d()));
    println!("{:?}", r.stat(&t.resolve(b"link").unwrap(), d()));
    println!("{:?}", r.list(&t.resolve(b"d*").unwrap(), d()));
    let p = t.resolve(b"big.bin").unwrap();
    let e = r.stat(&p, d()).unwrap();
    let v = cache::Versions::default().of(&p, &e).unwrap();
    let b = Arc::new(cache::BlockCache::new(64 << 20));
    let rs = read::Readers::new(r.clone(), b, 64 << 20, Duration::from_secs(60));
    let rd = rs.open(p, v);
    let want = std::fs::read("/tmp/ftplab/data/t/big.bin").unwrap();
    let mut got = vec![];
    let mut o = 0;
    loop {
        let x = rd.read(o, 100_000, read::Patience::Until(d())).unwrap();
        if x.is_empty() {
            break;
        }
        o += x.len() as u64;
        got.extend(x);
    }
    assert!(got == want);
    println!("READ OK");
    for i in 0..50u64 {
        let o = (i * 7919 * 4096) % 2_900_000;
        let x = rd.read(o, 4096, read::Patience::Until(d())).unwrap();
        assert!(x == want[o as usize..o as usize + 4096]);
    }
    r.close();
}
