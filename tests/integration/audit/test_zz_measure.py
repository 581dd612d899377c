import resource, time, threading
from datetime import timedelta
from tests.integration.audit.conftest import *
from etar.records.intake import Decoded

def rss():
    return int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])//1024

def test_measure(world):
    n=1_000_000
    # spread over 1,000 event minutes
    start=world.minute.start
    vals=world.good(5000)
    for i in range(0,n,100_000):
        out=[]
        for j in range(i,i+100_000,1000):
            pass
        at=milliseconds(start)-(i//100_000)*60_000*40
        vals=[encode(event(k%5000, event_time=at-(k%40)*60_000), schema_id=world.schema_id) for k in range(5000)]
        world.send(vals*20)
    world.commit()
    peak=[0]; stop=threading.Event()
    def watch():
        while not stop.wait(0.2): peak[0]=max(peak[0],rss())
    t=threading.Thread(target=watch); t.start()
    before=rss(); s=time.time(); r=world.audit(); print("\nMISSING 1M:", round(time.time()-s,1),"s", r, "rss",before,"->",peak[0],"MB")
    parts=world.query(f"SELECT count(), uniq(partition) FROM system.parts WHERE active AND table='{world.stream.table}'")
    world.sql("DELETE FROM audited_offsets WHERE stream=%s", world.stream.name)
    s=time.time(); r=world.audit(); print("HEALTHY 1M:", round(time.time()-s,1),"s", r, "parts",parts)
    # steady state: one minute of 120k incl. 1% malformed
    world.minute=world.minute.next.next.next
    good=world.good(3960, event_time=milliseconds(world.minute.start))
    world.send((good+[b"junk"]*40)*30); world.sink()
    s=time.time(); r=world.audit(minutes=0.1); print("ONE MINUTE 120k 1% bad:", round(time.time()-s,2),"s", r)
    # 20k refused/misfiled letters
    world.minute=world.minute.next
    world.send(world.good(20_000))
    world.sink(lambda d: Decoded([], [x.record.dead(Reason.NOT_AVRO,'x') for x in d.rows]))
    s=time.time(); r=world.audit(minutes=0.1); print("RESCUE 20k:", round(time.time()-s,2),"s", r)
    world.minute=world.minute.next
    world.send([b"poison"]*20_000); world.sink()
    s=time.time(); r=world.audit(minutes=0.1); print("POISON 20k:", round(time.time()-s,2),"s", r)
    # one row removed
    world.minute=world.minute.next
    world.send([*world.good(30), b"junk"])
    def spoil(d):
        (l,),(row,*_)=d.letters,d.rows
        return Decoded([*d.rows,row._replace(record=row.record._replace(partition=l.partition,offset=l.offset))],d.letters)
    world.sink(spoil)
    s=time.time()
    try: r=world.audit(minutes=0.1)
    except Exception as e: r=repr(e)[:100]
    print("ROW REMOVED:", round(time.time()-s,2),"s", r)
    stop.set(); t.join()
