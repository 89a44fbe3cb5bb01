#!/bin/busybox sh
# First process of the machine that QEMU emulates: loads KVM, mounts the disk with Node and the package, runs the
# scenarios there, hands the results over on the second disk, turns off.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk irqbypass kvm kvm-amd; do
  [ -f /mods/$module.ko ] || continue
  insmod /mods/$module.ko || echo "HOST: insmod $module failed"
done
tries=50
while [ ! -b /dev/vdb ] && [ $tries -gt 0 ]; do
  tries=$((tries - 1))
  sleep 0.1
done
mount -t ext4 -o ro /dev/vda /mnt || echo "HOST: no disk"
mount -t devtmpfs dev /mnt/dev
mount -t proc proc /mnt/proc
mount -t sysfs sys /mnt/sys
mount -t tmpfs -o size=90% tmp /mnt/tmp
echo "HOST: ready at $(cut -d' ' -f1 /proc/uptime) s"
chroot /mnt /bin/busybox sh /test/run.sh
echo "HOST: done at $(cut -d' ' -f1 /proc/uptime) s"
sync
poweroff -f
