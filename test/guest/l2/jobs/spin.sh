# Keeps both processors computing for ever.
load_bus
while :; do :; done &
echo "GUEST: busy"
while :; do :; done
