/** Assigns each shift to the person with the fewest so far; ties go by name. */
export function plan(people, shifts) {
  const load = new Map([...people].sort().map((person) => [person, 0]));
  return shifts.map((shift) => {
    const [person] = [...load].reduce((least, entry) => (entry[1] < least[1] ? entry : least));
    load.set(person, load.get(person) + 1);
    return { shift, person };
  });
}
