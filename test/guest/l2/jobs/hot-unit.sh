# A disk is added to our controller, and taken away while we read it.
dmesg -n 7
load_bus
load_disk
await 60 test -b /dev/sda
echo "7 1 0" >/sys/class/scsi_host/host0/scan
echo "GUEST: add a disk"
await 60 test -b /dev/sdb && echo "GUEST: the second disk is here"
cmp /dev/sda /dev/sdb && echo "GUEST: both disks are the same"
(while dd if=/dev/sdb of=/dev/null bs=64k count=256 iflag=direct 2>/dev/null; do :; done; echo "GUEST: reading has ended") &
sleep 1
echo "GUEST: remove it"
no_second_disk() { ! test -b /dev/sdb; }
await 60 no_second_disk && echo "GUEST: the second disk is gone"
wait
mount -t ext4 /dev/sda /mnt && (cd /mnt && sha256sum -c sums.txt | sed 's/^/GUEST: first disk: /')
umount /mnt
