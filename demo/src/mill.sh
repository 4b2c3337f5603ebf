# Prints what the mill grinds; the demo's whole program.
for round in 1 2 3 4; do
    echo "round $round: ${GREETING:-low water}"
done
