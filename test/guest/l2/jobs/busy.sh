# Keeps one processor computing and the other reading, for ever.
load_bus
load_disk
await 60 test -b /dev/sda
while :; do :; done &
echo "GUEST: busy"
while :; do dd if=/dev/sda of=/dev/null bs=64k 2>/dev/null; done
