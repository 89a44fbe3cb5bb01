# The machine alone: boots, keeps time, counts its processors, reads its console, turns off.
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
date -u +%Y
echo "GUEST: say something"
read -r line
echo "GUEST: heard $line"
