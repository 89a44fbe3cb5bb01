# A disk is added while we run, used, and taken away.
dmesg -n 7
load_bus
load_disk
await 60 test -b /dev/sda
echo "GUEST: add a disk"
await 60 test -b /dev/sdb && echo "GUEST: the second disk is here"
ls /sys/bus/vmbus/devices | sed 's/^/GUEST: device /'
mount -t ext4 -o ro,noload /dev/sdb /mnt && (cd /mnt && sha256sum -c sums.txt | sed 's/^/GUEST: second disk: /')
umount /mnt
# Waits for the end of the controller's first scan: a command that the scan sends while its controller goes is lost.
echo "7 1 0" >/sys/class/scsi_host/host1/scan
echo "GUEST: remove it"
no_second_disk() { ! test -b /dev/sdb; }
await 60 no_second_disk && echo "GUEST: the second disk is gone"
one_device() { [ "$(ls /sys/bus/vmbus/devices | wc -l)" = 1 ]; }
await 60 one_device && echo "GUEST: one device is left"
mount -t ext4 /dev/sda /mnt && (cd /mnt && sha256sum -c sums.txt | sed 's/^/GUEST: first disk: /')
umount /mnt
