export async function probe(){return 0;}
